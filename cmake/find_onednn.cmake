# Looks for oneDNN's package, first where CMake does and then in a Python environment; the targets are for the includer to check.
#
# The PyPI packages onednn-devel-cpu-gomp and onednn-cpu-gomp put oneDNN into the Python environment's prefix. This file and
# find_onednn.py are installed too: postludeConfig.cmake finds oneDNN in the same way.
if(NOT TARGET DNNL::dnnl)
  find_package(dnnl CONFIG QUIET)
  if(NOT dnnl_FOUND)
    find_package(Python 3.10 COMPONENTS Interpreter QUIET)
    if(Python_Interpreter_FOUND)
      execute_process(
        COMMAND "${Python_EXECUTABLE}" "${CMAKE_CURRENT_LIST_DIR}/find_onednn.py"
        OUTPUT_VARIABLE _postlude_onednn OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
      find_package(dnnl CONFIG QUIET PATHS "${_postlude_onednn}" NO_DEFAULT_PATH)
      unset(_postlude_onednn)
    endif()
  endif()
endif()
