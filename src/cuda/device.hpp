// DeviceGuard and DeviceState: which GPU is current, and what the kernels' choices depend on.
#pragma once

#include <cuda_runtime_api.h>

#include "backend.hpp"
#include "cuda/error.hpp"

namespace postlude {
namespace detail {
namespace cuda {

// Makes a device current for a scope, and the caller's current again afterwards. Costs one query
// where they agree.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    check(cudaGetDevice(&previous_), "cudaGetDevice");
    changed_ = previous_ != device;
    if (changed_) check(cudaSetDevice(device), "cudaSetDevice");
  }
  ~DeviceGuard() {
    if (changed_) cudaSetDevice(previous_);
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int previous_ = 0;
  bool changed_ = false;
};

// The properties of one Context's device.
struct DeviceState final : BackendState {
  int sm = 0;                 // compute capability, 90 for 9.0
  int sm_count = 0;           // streaming multiprocessors
  bool programmatic = false;  // launches may be programmatic: see launch.cuh
  bool clusters = false;      // blocks may form clusters
  // Clusters of [n] blocks that run at once where each block fills a multiprocessor.
  int clusters_at_once[9] = {};
};

inline const DeviceState& device_state(const ContextState& context) {
  return static_cast<const DeviceState&>(*context.backend_state);
}

inline cudaStream_t stream_of(const ContextState& context) { return context.stream.get(); }

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
