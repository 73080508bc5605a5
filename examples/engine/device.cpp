// Calls of the CUDA runtime, where the program is built with CUDA, and what stands for them.
#include "device.hpp"

#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <string>

#if ENGINE_WITH_CUDA
#include <cuda_runtime_api.h>
#endif

namespace engine {
namespace {

bool is_cuda(postlude::Device device) { return device.type == postlude::DeviceType::cuda; }

#if ENGINE_WITH_CUDA
void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}
#endif

}  // namespace

Memory allocate(postlude::Device device, std::int64_t floats) {
#if ENGINE_WITH_CUDA
  const auto bytes = static_cast<std::size_t>(floats) * sizeof(float);
  void* data = nullptr;
  if (is_cuda(device)) {
    check(cudaMalloc(&data, bytes));
    return Memory(static_cast<float*>(data), cudaFree);
  }
  if (cudaMallocHost(&data, bytes) == cudaSuccess) {
    return Memory(static_cast<float*>(data), cudaFreeHost);
  }
  cudaGetLastError();  // a machine without a GPU
#endif
  if (is_cuda(device)) throw std::runtime_error("this program was built without CUDA");
  return Memory(new float[static_cast<std::size_t>(floats)], std::default_delete<float[]>());
}

Stream::Stream(postlude::Device device) : device_(device) {
#if ENGINE_WITH_CUDA
  if (is_cuda(device)) {
    check(cudaSetDevice(device.index));
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  }
#else
  if (is_cuda(device)) throw std::runtime_error("this program was built without CUDA");
#endif
}

Stream::~Stream() {
#if ENGINE_WITH_CUDA
  for (const auto& [key, graph] : graphs_) cudaGraphExecDestroy(graph);
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
#endif
}

postlude::StreamRef Stream::ref() const { return stream_; }

void Stream::copy(float* to, const float* from, std::int64_t floats) {
  const auto bytes = static_cast<std::size_t>(floats) * sizeof(float);
#if ENGINE_WITH_CUDA
  if (is_cuda(device_)) {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_));
    return;
  }
#endif
  std::memcpy(to, from, bytes);
}

void Stream::wait() {
#if ENGINE_WITH_CUDA
  if (is_cuda(device_)) check(cudaStreamSynchronize(stream_));
#endif
}

void Stream::run([[maybe_unused]] std::int64_t key, const std::function<void()>& work) {
#if ENGINE_WITH_CUDA
  if (is_cuda(device_)) {
    auto found = graphs_.find(key);
    if (found == graphs_.end()) {
      work();  // as it is: kernels are loaded at their first launch, which cannot be recorded
      wait();
      cudaGraph_t recorded = nullptr;
      cudaGraphExec_t graph = nullptr;
      check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
      work();
      check(cudaStreamEndCapture(stream_, &recorded));
      check(cudaGraphInstantiate(&graph, recorded, 0));
      check(cudaGraphDestroy(recorded));
      found = graphs_.emplace(key, graph).first;
    }
    check(cudaGraphLaunch(found->second, stream_));
    wait();
    return;
  }
#endif
  work();
}

}  // namespace engine
