// The version of Postlude, written here and nowhere else: CMake and the Python package read it.
#pragma once

#define POSTLUDE_VERSION_MAJOR 0
#define POSTLUDE_VERSION_MINOR 1
#define POSTLUDE_VERSION_PATCH 0
