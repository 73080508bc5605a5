// Attention on the CPU: a row of scores for each token and head, its softmax, and the mean of v.
#include "attention.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace engine {

void attention(const float* qkv, const Heads& shape, float* out,
               [[maybe_unused]] const postlude::Context& context) {
#if ENGINE_WITH_CUDA
  if (context.device().type == postlude::DeviceType::cuda) {
    attention_cuda(qkv, shape, out, context.stream());
    return;
  }
#endif
  const std::int64_t tokens = shape.tokens, size = shape.size, width = shape.heads * size;
  const float scale = 1.0f / std::sqrt(static_cast<float>(size));
#pragma omp parallel
  {
    std::vector<float> scores(static_cast<std::size_t>(tokens));
    float* score = scores.data();
#pragma omp for collapse(2)
    for (std::int64_t head = 0; head < shape.heads; ++head) {
      for (std::int64_t row = 0; row < tokens; ++row) {
        const float* q = qkv + row * 3 * width + head * size;
        float largest = -INFINITY, sum = 0.0f;
        for (std::int64_t other = 0; other < tokens; ++other) {
          const float* k = qkv + other * 3 * width + width + head * size;
          float dot = 0.0f;
#pragma omp simd reduction(+ : dot)
          for (std::int64_t i = 0; i < size; ++i) dot += q[i] * k[i];
          score[other] = dot * scale;
          largest = std::max(largest, score[other]);
        }
        for (std::int64_t other = 0; other < tokens; ++other) {
          score[other] = std::exp(score[other] - largest);
          sum += score[other];
        }
        float* to = out + row * width + head * size;
        std::fill(to, to + size, 0.0f);
        for (std::int64_t other = 0; other < tokens; ++other) {
          const float* v = qkv + other * 3 * width + 2 * width + head * size;
          const float share = score[other] / sum;
          for (std::int64_t i = 0; i < size; ++i) to[i] += share * v[i];
        }
      }
    }
  }
}

}  // namespace engine
