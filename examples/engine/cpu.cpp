// The CPU as the engine's device, with attention in plain loops.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>

#include "device.hpp"

namespace engine {

#if !ENGINE_WITH_CUDA
std::unique_ptr<Device> open_cuda() {
  throw std::runtime_error("this program was built without CUDA");
}
#endif

Memory Device::allocate(std::int64_t floats) {
  return Memory(new float[static_cast<std::size_t>(floats)], std::default_delete<float[]>());
}

void Device::copy(float* to, const float* from, std::int64_t floats) {
  std::copy_n(from, floats, to);
}

void Device::run(std::int64_t, const std::function<void()>& work) { work(); }

// Key after key: what is summed so far shrinks whenever a larger score comes, so that no exp grows
// too large.
void Device::attention(const float* qkv, std::int64_t tokens, std::int64_t heads, float* out) {
  const std::int64_t width = heads * head_size;
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_size));
#pragma omp parallel for collapse(2)
  for (std::int64_t row = 0; row < tokens; ++row) {
    for (std::int64_t head = 0; head < heads; ++head) {
      const float* q = qkv + row * 3 * width + head * head_size;
      float largest = -INFINITY, sum = 0.0f, total[head_size] = {};
      for (std::int64_t key = 0; key < tokens; ++key) {
        const float* k = qkv + key * 3 * width + width + head * head_size;
        float score = 0.0f;
#pragma omp simd reduction(+ : score)
        for (std::int64_t i = 0; i < head_size; ++i) score += q[i] * k[i] * scale;
        const float next = std::max(largest, score);
        const float before = std::exp(largest - next), share = std::exp(score - next);
        sum = sum * before + share;
        for (std::int64_t i = 0; i < head_size; ++i)
          total[i] = total[i] * before + share * k[width + i];
        largest = next;
      }
      float* to = out + row * width + head * head_size;
      for (float value : total) *to++ = value / sum;
    }
  }
}

}  // namespace engine
