# Finds oneDNN >= 3.0 and OpenMP, the CPU backend's dependencies.
find_package(OpenMP REQUIRED COMPONENTS CXX)

include(cmake/find_onednn.cmake)
if(NOT TARGET DNNL::dnnl)
  message(FATAL_ERROR
    "oneDNN >= 3.0 was not found. Install it with "
    "'pip install onednn-devel-cpu-gomp==2023.2.0 onednn-cpu-gomp==2023.2.0' into the Python that CMake uses, or "
    "point CMAKE_PREFIX_PATH at an installation that holds dnnl-config.cmake.")
endif()
if(DEFINED dnnl_VERSION AND dnnl_VERSION VERSION_LESS 3.0)
  message(FATAL_ERROR "oneDNN >= 3.0 is needed, found ${dnnl_VERSION} in ${dnnl_DIR}")
endif()
