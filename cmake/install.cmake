# Install rules of the C++ library: headers, the library, its CMake package and its pkg-config file, all free to be moved.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# A wheel holds no links: libpostlude.so would be a second copy.
set(_namelink "")
if(SKBUILD)
  set(_namelink NAMELINK_SKIP)
endif()
install(TARGETS postlude EXPORT postludeTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT cpp
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT cpp ${_namelink}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY include/postlude DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT cpp)

get_target_property(POSTLUDE_LIBRARY_TYPE postlude TYPE)
set(_package ${CMAKE_INSTALL_LIBDIR}/cmake/postlude)
install(EXPORT postludeTargets NAMESPACE postlude:: DESTINATION ${_package} COMPONENT cpp)
configure_package_config_file(cmake/postludeConfig.cmake.in ${PROJECT_BINARY_DIR}/postludeConfig.cmake
  INSTALL_DESTINATION ${_package} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/postludeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/postludeConfig.cmake
  ${PROJECT_BINARY_DIR}/postludeConfigVersion.cmake
  cmake/find_onednn.cmake
  cmake/find_onednn.py
  DESTINATION ${_package} COMPONENT cpp)

# A static library leaves it to its user to link what it needs; where oneDNN and CUDA lie is for the user to say.
set(POSTLUDE_PC_LIBS "")
if(POSTLUDE_LIBRARY_TYPE STREQUAL "STATIC_LIBRARY")
  set(POSTLUDE_PC_LIBS " -ldnnl ${OpenMP_CXX_FLAGS} -lstdc++ -lm")
  if(POSTLUDE_WITH_CUDA)
    string(APPEND POSTLUDE_PC_LIBS " -lcudart_static -ldl -lrt -lpthread")
  endif()
endif()
if(SKBUILD)
  return()  # -lpostlude needs the link
endif()
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX BASE_DIRECTORY ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig
  OUTPUT_VARIABLE POSTLUDE_PC_TO_PREFIX)
configure_file(cmake/postlude.pc.in postlude.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/postlude.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT cpp)
