# Finds oneDNN >= 3.0 and OpenMP, the CPU backend's dependencies.
#
# oneDNN is any installation that CMake finds; the PyPI packages onednn-devel-cpu-gomp and onednn-cpu-gomp put one into
# the Python environment's prefix, which is searched last.
find_package(OpenMP REQUIRED COMPONENTS CXX)

if(NOT TARGET DNNL::dnnl)
  find_package(dnnl CONFIG QUIET)
  if(NOT dnnl_FOUND)
    find_package(Python 3.10 COMPONENTS Interpreter QUIET)
    if(Python_Interpreter_FOUND)
      execute_process(
        COMMAND "${Python_EXECUTABLE}" "${CMAKE_CURRENT_LIST_DIR}/find_onednn.py"
        OUTPUT_VARIABLE _prefix OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
      find_package(dnnl CONFIG QUIET PATHS "${_prefix}" NO_DEFAULT_PATH)
    endif()
  endif()
  if(NOT dnnl_FOUND)
    message(FATAL_ERROR
      "oneDNN >= 3.0 was not found. Install it with "
      "'pip install onednn-devel-cpu-gomp==2023.2.0 onednn-cpu-gomp==2023.2.0' into the Python that CMake uses, or "
      "point CMAKE_PREFIX_PATH at an installation that holds dnnl-config.cmake.")
  endif()
  if(DEFINED dnnl_VERSION AND dnnl_VERSION VERSION_LESS 3.0)
    message(FATAL_ERROR "oneDNN >= 3.0 is needed, found ${dnnl_VERSION} in ${dnnl_DIR}")
  endif()
endif()
