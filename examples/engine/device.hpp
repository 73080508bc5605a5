// What the engine needs of a device beside Postlude's ops: memory, attention, replayed work.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "postlude/postlude.hpp"

namespace engine {

using Memory = std::shared_ptr<float>;

constexpr std::int64_t head_size = 32;  // of all-MiniLM-L6-v2, and the lanes of a warp

// The CPU; cuda.cu has another for GPUs.
class Device {
 public:
  virtual ~Device() = default;
  virtual postlude::Device place() const { return {}; }
  virtual postlude::StreamRef stream() const { return {}; }
  virtual Memory allocate(std::int64_t floats);
  // From or to the host's memory, which the caller may use at once.
  virtual void copy(float* to, const float* from, std::int64_t floats);
  // out (tokens, heads * head_size) = softmax(q k^T / sqrt(head_size)) v for each head, from qkv
  // (tokens, 3 * heads * head_size), whose columns are all heads' q, then k, then v.
  virtual void attention(const float* qkv, std::int64_t tokens, std::int64_t heads, float* out);
  // Does the work. On a GPU that of each key is recorded as a CUDA graph once, which is launched
  // from then on: it must use the same memory every time, allocate nothing and wait for nothing.
  virtual void run(std::int64_t key, const std::function<void()>& work);
};

// The first GPU. Throws std::runtime_error where there is none or the program has no CUDA.
std::unique_ptr<Device> open_cuda();

}  // namespace engine
