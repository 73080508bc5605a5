// A GPU as the engine's device: a warp for each row of attention, and a CUDA graph for each key.
#include <cuda_runtime.h>

#include <map>
#include <stdexcept>

#include "device.hpp"

namespace engine {
namespace {

constexpr int lanes = head_size, warps = 4;  // of a block

void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

// A warp for each token and head, a lane for each number of a head: as Device::attention.
__global__ void attend(const float* __restrict__ qkv, int tokens, float* __restrict__ out) {
  const int row = blockIdx.x * warps + threadIdx.y, heads = gridDim.y;
  if (row >= tokens) return;  // whole warps
  const int column = blockIdx.y * lanes + threadIdx.x, width = heads * lanes;
  const float q = qkv[row * 3 * width + column] * rsqrtf(lanes);
  float largest = -INFINITY, sum = 0.0f, total = 0.0f;
#pragma unroll 4
  for (int key = 0; key < tokens; ++key) {
    const float* k = qkv + key * 3 * width + width + column;
    float score = q * k[0];
    for (int step = lanes / 2; step > 0; step /= 2) {
      score += __shfl_xor_sync(0xffffffffu, score, step);
    }
    const float next = fmaxf(largest, score);
    const float before = expf(largest - next), share = expf(score - next);
    sum = sum * before + share;
    total = total * before + share * k[width];
    largest = next;
  }
  out[row * width + column] = total / sum;
}

class Cuda final : public Device {
 public:
  Cuda() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Cuda() override {
    for (const auto& [key, graph] : graphs_) cudaGraphExecDestroy(graph);
    cudaStreamDestroy(stream_);
  }
  postlude::Device place() const override { return {postlude::DeviceType::cuda, 0}; }
  postlude::StreamRef stream() const override { return stream_; }

  Memory allocate(std::int64_t floats) override {
    float* data = nullptr;
    check(cudaMalloc(&data, floats * sizeof(float)));
    return Memory(data, cudaFree);
  }

  void copy(float* to, const float* from, std::int64_t floats) override {
    // Waits where it must: the host's memory is not page-locked.
    check(cudaMemcpyAsync(to, from, floats * sizeof(float), cudaMemcpyDefault, stream_));
  }

  void attention(const float* qkv, std::int64_t tokens, std::int64_t heads, float* out) override {
    const int count = static_cast<int>(tokens);
    const dim3 grid((count + warps - 1) / warps, static_cast<unsigned>(heads));
    attend<<<grid, dim3(lanes, warps), 0, stream_>>>(qkv, count, out);
    check(cudaGetLastError());
  }

  void run(std::int64_t key, const std::function<void()>& work) override {
    cudaGraphExec_t& graph = graphs_[key];
    if (graph != nullptr) return check(cudaGraphLaunch(graph, stream_));
    work();  // as it is: kernels are loaded at their first launch, which cannot be recorded
    cudaGraph_t recorded = nullptr;
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    work();  // recorded, not done: it is for the next time
    check(cudaStreamEndCapture(stream_, &recorded));
    check(cudaGraphInstantiate(&graph, recorded, 0));
    check(cudaGraphDestroy(recorded));
  }

 private:
  cudaStream_t stream_ = nullptr;
  std::map<std::int64_t, cudaGraphExec_t> graphs_;
};

}  // namespace

std::unique_ptr<Device> open_cuda() { return std::make_unique<Cuda>(); }

}  // namespace engine
