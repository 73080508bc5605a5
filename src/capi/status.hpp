// How exceptions of the C++ interface become statuses and texts of the C interface.
#pragma once

#include "postlude/postlude.h"

namespace postlude {
namespace capi {

// Keeps the text of the exception that is being handled for postlude_last_error, and returns its
// status. Called from a catch block alone.
postlude_status record_exception() noexcept;

// Runs the body of a C function: no exception passes.
template <class Body>
postlude_status guarded(const Body& body) noexcept {
  try {
    body();
    return POSTLUDE_OK;
  } catch (...) {
    return record_exception();
  }
}

}  // namespace capi
}  // namespace postlude
