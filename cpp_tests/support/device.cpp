// Memory of the CPU and, in a CUDA build, of the GPU. Apart from tests of single kernels, no other
// file of the suites knows CUDA.
#include "support/device.hpp"

#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

#if POSTLUDE_WITH_CUDA
#include <cuda_runtime_api.h>
#endif

namespace postlude {
namespace test {

namespace {

#if POSTLUDE_WITH_CUDA
void check(cudaError_t error, const char* call) {
  if (error != cudaSuccess) {
    throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(error));
  }
}
#endif

[[noreturn]] void no_cuda() { throw std::logic_error("the suites were built without CUDA"); }

}  // namespace

std::vector<Device> devices() {
  std::vector<Device> result{Device{}};
#if POSTLUDE_WITH_CUDA
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess && count > 0) {
    result.push_back(Device{DeviceType::cuda, 0});
  }
#endif
  return result;
}

bool gpu_required() {
  const char* value = std::getenv("POSTLUDE_REQUIRE_GPU");
  return value != nullptr && std::string(value) == "1";
}

std::shared_ptr<void> allocate(Device device, std::size_t bytes) {
  if (device.type == DeviceType::cpu) {
    constexpr std::align_val_t alignment{256};
    return {::operator new(bytes, alignment), [](void* p) { ::operator delete(p, alignment); }};
  }
#if POSTLUDE_WITH_CUDA
  void* data = nullptr;
  check(cudaMalloc(&data, bytes > 0 ? bytes : 1), "cudaMalloc");
  return {data, [](void* p) { cudaFree(p); }};
#else
  no_cuda();
#endif
}

void copy_to_device(Device device, void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  if (device.type == DeviceType::cpu) {
    std::memcpy(to, from, bytes);
    return;
  }
#if POSTLUDE_WITH_CUDA
  synchronize(device);
  check(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
#else
  no_cuda();
#endif
}

void copy_to_host(Device device, void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  if (device.type == DeviceType::cpu) {
    std::memcpy(to, from, bytes);
    return;
  }
#if POSTLUDE_WITH_CUDA
  synchronize(device);
  check(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost), "cudaMemcpy");
#else
  no_cuda();
#endif
}

void synchronize(Device device) {
  if (device.type == DeviceType::cpu) return;
#if POSTLUDE_WITH_CUDA
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
#else
  no_cuda();
#endif
}

}  // namespace test
}  // namespace postlude
