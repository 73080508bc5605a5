// What a CUDA call's status becomes for the caller of an op.
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

// What a Context throws where its kernels could not be loaded: where the build has no code for the
// device, that it is sm_`sm` and what there is code for; else the error as it came.
inline CudaError load_error(const CudaError& error, int sm, const char* architectures) {
  if (error.code() != cudaErrorNoKernelImageForDevice &&
      error.code() != cudaErrorInvalidDeviceFunction) {
    return error;
  }
  return CudaError("[Context] device: it is sm_" + std::to_string(sm) +
                       ", and this build holds code for " + architectures + " only",
                   error.code());
}

// What is thrown where the driver lacks a function that it has from a version of CUDA on.
inline CudaError missing_entry(const char* name, const char* version) {
  return CudaError(std::string("the driver has no ") + name + ": it is older than CUDA " + version,
                   0);
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
