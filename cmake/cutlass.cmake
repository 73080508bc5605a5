# Finds CUTLASS's headers and makes the target postlude_cutlass of them.
#
# They are those under POSTLUDE_CUTLASS_DIR where it is set, else those of the Python package nvidia-cutlass in the
# environment of Python_EXECUTABLE (or of the first Python that CMake finds).
set(_searched "")
if(POSTLUDE_CUTLASS_DIR)
  find_path(_cutlass_include cutlass/version.h NO_CACHE NO_DEFAULT_PATH
    PATHS "${POSTLUDE_CUTLASS_DIR}" PATH_SUFFIXES include)
  set(_searched "POSTLUDE_CUTLASS_DIR=${POSTLUDE_CUTLASS_DIR} holds no include/cutlass/version.h.")
else()
  find_package(Python 3.10 COMPONENTS Interpreter QUIET)
  if(Python_Interpreter_FOUND)
    # Not imported: the package's own dependencies need not be there.
    execute_process(
      COMMAND "${Python_EXECUTABLE}" -c
        "import importlib.util; print(importlib.util.find_spec('cutlass_library').submodule_search_locations[0])"
      OUTPUT_VARIABLE _package OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    find_path(_cutlass_include cutlass/version.h NO_CACHE NO_DEFAULT_PATH
      PATHS "${_package}/source/include")
    set(_searched "The Python package nvidia-cutlass is not installed for ${Python_EXECUTABLE}.")
  else()
    set(_searched "POSTLUDE_CUTLASS_DIR is not set, and no Python was found.")
  endif()
endif()

if(NOT _cutlass_include)
  message(FATAL_ERROR
    "CUTLASS was not found. ${_searched} Either run\n"
    "  python -m pip install --no-deps nvidia-cutlass==4.2.0.0\n"
    "with the Python that CMake uses (-DPython_EXECUTABLE=...), or pass\n"
    "  -DPOSTLUDE_CUTLASS_DIR=<a checkout of CUTLASS 4.2 or newer>\n"
    "or build without the CUDA backend: -DPOSTLUDE_CUDA=OFF")
endif()

file(STRINGS "${_cutlass_include}/cutlass/version.h" _lines REGEX "#define CUTLASS_(MAJOR|MINOR|PATCH) +[0-9]+")
list(TRANSFORM _lines REPLACE "[^0-9]" "")
list(JOIN _lines "." POSTLUDE_CUTLASS_VERSION)
if(POSTLUDE_CUTLASS_VERSION VERSION_LESS 4.2)
  message(FATAL_ERROR "CUTLASS 4.2 or newer is needed, found ${POSTLUDE_CUTLASS_VERSION} in ${_cutlass_include}")
endif()
message(STATUS "CUTLASS ${POSTLUDE_CUTLASS_VERSION}: ${_cutlass_include}")

# The includes of an imported target are system includes.
add_library(postlude_cutlass INTERFACE IMPORTED)
target_include_directories(postlude_cutlass INTERFACE "${_cutlass_include}")
unset(_cutlass_include)
