// Starting kernels: one checked launch, programmatic dependent launch, loading ahead of time, and
// the dynamic shared memory.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "cuda/error.hpp"

namespace postlude {
namespace detail {
namespace cuda {

struct LaunchShape {
  unsigned blocks = 1;
  unsigned threads = 1;
  cudaStream_t stream = nullptr;
  std::size_t shared_bytes = 0;
  // Programmatic dependent launch: the kernel may start before the one ahead of it in the stream
  // has ended. It must call await_predecessor() in every thread that reads or writes global memory.
  bool programmatic = false;
  unsigned cluster = 1;
};

// The number of blocks for `items` of work. Kernels loop over their items in strides of the grid,
// so that no size is too large.
inline unsigned grid_of(std::int64_t items) {
  return static_cast<unsigned>(std::min<std::int64_t>(items, 2147483647));
}

// Runs kernel(args...) on the current device; `name` is for the error's text.
template <class... Params, class... Args>
void launch(const char* name, void (*kernel)(Params...), const LaunchShape& shape, Args&&... args) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(shape.blocks);
  config.blockDim = dim3(shape.threads);
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = shape.stream;
  cudaLaunchAttribute attributes[2] = {};
  config.attrs = attributes;
  if (shape.programmatic) {
    cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
  }
  if (shape.cluster > 1) {
    cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim = {shape.cluster, 1, 1};
  }
  check(cudaLaunchKernelEx(&config, kernel, std::forward<Args>(args)...), name);
}

// Waits until the kernel ahead in the stream has ended and what it wrote is visible. Nothing where
// the launch was not programmatic. All kernels call it, so that "ended" holds for all before it
// too.
__device__ __forceinline__ void await_predecessor() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the next kernel of the stream start as soon as all blocks of this one have and there is
// room. Starting a kernel takes over a microsecond, so kernels begin with this; several may be
// waiting at a time. Not those that unpack a weight, whose end nobody waits for before it is read.
__device__ __forceinline__ void release_successor() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// Loads a kernel on the current device and allows it `shared_bytes` of dynamic shared memory, so
// that no call has to.
template <class... Params>
void load_kernel(void (*kernel)(Params...), std::size_t shared_bytes = 0) {
  cudaFuncAttributes attributes;
  check(cudaFuncGetAttributes(&attributes, kernel), "cudaFuncGetAttributes");
  constexpr std::size_t without_asking = 48 * 1024;
  if (shared_bytes > without_asking) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                               cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes)),
          "cudaFuncSetAttribute(MaxDynamicSharedMemorySize)");
  }
}

// The block's dynamic shared memory.
__device__ inline char* shared_memory() {
  extern __shared__ __align__(1024) char postlude_shared_memory[];
  return postlude_shared_memory;
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
