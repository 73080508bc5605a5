# Install rules of the C++ library: headers, the library and the CMake target file.
include(GNUInstallDirs)
install(TARGETS postlude
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT cpp
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT cpp)
install(DIRECTORY include/postlude DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT cpp)
