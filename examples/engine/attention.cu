// Attention on the GPU: a warp for each token and head, with the softmax summed as the keys go by.
#include <cuda_runtime.h>

#include <stdexcept>

#include "attention.hpp"

namespace engine {
namespace {

constexpr int warp = 32, warps = 4, max_size = 128, most = max_size / warp;
constexpr unsigned all = 0xffffffffu;

// Of 32 keys at a time each lane takes one: its score. Then all lanes take each v in turn: lane l
// the dimensions l, l + 32 and so on.
__global__ void __launch_bounds__(warp* warps)
    attend(const float* __restrict__ qkv, int tokens, int size, float scale, float* out) {
  __shared__ float queries[warps][max_size];
  const int lane = threadIdx.x % warp, head = blockIdx.y;
  const int row = blockIdx.x * warps + threadIdx.x / warp;
  if (row >= tokens) return;  // whole warps
  const long long width = static_cast<long long>(gridDim.y) * size, stride = 3 * width;
  const float* first = qkv + static_cast<long long>(head) * size;
  float* q = queries[threadIdx.x / warp];
  for (int i = lane; i < size; i += warp) q[i] = first[row * stride + i] * scale;
  __syncwarp();

  float largest = -INFINITY, sum = 0.0f, total[most] = {};
  for (int start = 0; start < tokens; start += warp) {
    const int count = min(warp, tokens - start);
    float score = -INFINITY;
    if (lane < count) {
      const float* k = first + width + (start + lane) * stride;
      score = 0.0f;
      for (int i = 0; i < size; ++i) score += q[i] * k[i];
    }
    float now = score;
    for (int step = warp / 2; step > 0; step /= 2) {
      now = fmaxf(now, __shfl_xor_sync(all, now, step));
    }
    now = fmaxf(now, largest);
    const float before = expf(largest - now);  // 0 the first time
    const float share = expf(score - now);     // 0 where there is no key
    largest = now;
    sum = sum * before + share;
    for (float& value : total) value *= before;
    for (int key = 0; key < count; ++key) {
      const float weight = __shfl_sync(all, share, key);
      const float* v = first + 2 * width + (start + key) * stride;
#pragma unroll
      for (int part = 0; part < most; ++part) {
        const int i = lane + part * warp;
        if (i < size) total[part] += weight * v[i];
      }
    }
  }
  for (int step = warp / 2; step > 0; step /= 2) sum += __shfl_xor_sync(all, sum, step);
#pragma unroll
  for (int part = 0; part < most; ++part) {
    const int i = lane + part * warp;
    if (i < size) out[row * width + head * static_cast<long long>(size) + i] = total[part] / sum;
  }
}

}  // namespace

void attention_cuda(const float* qkv, const Heads& shape, float* out, postlude::StreamRef stream) {
  if (shape.size > max_size) throw std::runtime_error("attention: expected heads of at most 128");
  if (shape.tokens == 0) return;
  const dim3 grid(static_cast<unsigned>((shape.tokens + warps - 1) / warps),
                  static_cast<unsigned>(shape.heads));
  attend<<<grid, warp * warps, 0, stream.get()>>>(
      qkv, static_cast<int>(shape.tokens), static_cast<int>(shape.size),
      1.0f / sqrtf(static_cast<float>(shape.size)), out);
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

}  // namespace engine
