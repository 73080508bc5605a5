// The calls of the CUDA runtime, where the program is built with CUDA, and what stands for them.
#include "device.hpp"

#include <cstddef>
#include <cstring>
#include <stdexcept>

#if ENGINE_WITH_CUDA
#include <cuda_runtime_api.h>
#endif

namespace engine {

#if ENGINE_WITH_CUDA
static void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}
#endif

Memory allocate(postlude::Device device, std::int64_t floats) {
#if ENGINE_WITH_CUDA
  if (device.type == postlude::DeviceType::cuda) {
    void* data = nullptr;
    check(cudaMalloc(&data, static_cast<std::size_t>(floats) * sizeof(float)));
    return Memory(static_cast<float*>(data), cudaFree);
  }
#endif
  return allocate_host(device, floats);
}

Memory allocate_host([[maybe_unused]] postlude::Device device, std::int64_t floats) {
#if ENGINE_WITH_CUDA
  if (device.type == postlude::DeviceType::cuda) {
    void* data = nullptr;
    check(cudaMallocHost(&data, static_cast<std::size_t>(floats) * sizeof(float)));
    return Memory(static_cast<float*>(data), cudaFreeHost);
  }
#endif
  return Memory(new float[static_cast<std::size_t>(floats)], std::default_delete<float[]>());
}

Stream::Stream(postlude::Device device) {
  if (device == postlude::Device()) return;
#if ENGINE_WITH_CUDA
  check(cudaSetDevice(device.index));
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
#else
  throw std::runtime_error("this program was built without CUDA");
#endif
}

Stream::~Stream() {
#if ENGINE_WITH_CUDA
  for (const auto& [key, graph] : graphs_) cudaGraphExecDestroy(graph);
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
#endif
}

void Stream::copy(float* to, const float* from, std::int64_t floats) {
  const auto bytes = static_cast<std::size_t>(floats) * sizeof(float);
  if (stream_ == nullptr) {
    std::memcpy(to, from, bytes);
    return;
  }
#if ENGINE_WITH_CUDA
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_));
#endif
}

void Stream::wait() {
#if ENGINE_WITH_CUDA
  if (stream_ != nullptr) check(cudaStreamSynchronize(stream_));
#endif
}

void Stream::run([[maybe_unused]] std::int64_t key, const std::function<void()>& work) {
  if (stream_ == nullptr) {
    work();
    return;
  }
#if ENGINE_WITH_CUDA
  cudaGraphExec_t& graph = graphs_[key];
  if (graph == nullptr) {
    work();  // as it is: kernels are loaded at their first launch, which cannot be recorded
    wait();
    cudaGraph_t recorded = nullptr;
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    work();
    check(cudaStreamEndCapture(stream_, &recorded));
    check(cudaGraphInstantiate(&graph, recorded, 0));
    check(cudaGraphDestroy(recorded));
  }
  check(cudaGraphLaunch(graph, stream_));
  wait();
#endif
}

}  // namespace engine
