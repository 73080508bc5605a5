# Settings that every target of the project shares.
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# Warnings and sanitizers for the project's own targets; consumers do not inherit them.
add_library(postlude_options INTERFACE)
target_compile_options(postlude_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Wno-unknown-pragmas -fno-strict-aliasing>)

set(POSTLUDE_SANITIZE "" CACHE STRING "Sanitizers to build with, e.g. address,undefined")
if(POSTLUDE_SANITIZE)
  target_compile_options(postlude_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${POSTLUDE_SANITIZE} -fno-omit-frame-pointer
      -fno-sanitize-recover=all -g1>)
  target_link_options(postlude_options INTERFACE -fsanitize=${POSTLUDE_SANITIZE})
endif()
