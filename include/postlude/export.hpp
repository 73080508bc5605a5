// Symbol visibility: what carries POSTLUDE_API is the library's interface, everything else is
// hidden.
#pragma once

#if defined(_WIN32)
#define POSTLUDE_API
#else
#define POSTLUDE_API __attribute__((visibility("default")))
#endif
