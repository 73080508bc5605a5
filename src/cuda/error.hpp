// check: turns the status of a CUDA call into a CudaError that names the call.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "postlude/error.hpp"

namespace postlude {
namespace detail {
namespace cuda {

// Throws CudaError with the call's name and CUDA's own words unless `status` is success. The
// runtime's record of the last error is cleared, so that the next check does not report this one
// again.
inline void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  throw CudaError(std::string(call) + " failed: " + cudaGetErrorString(status) + " (" +
                      cudaGetErrorName(status) + ")",
                  static_cast<int>(status));
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
