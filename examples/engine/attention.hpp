// Attention of one sequence over itself, with a plain softmax: no part of Postlude.
#pragma once

#include <cstdint>

#include "postlude/postlude.hpp"

namespace engine {

struct Heads {
  std::int64_t tokens, heads, size;  // size: of one head, at most 128 on a GPU
};

// out (tokens, heads * size) = softmax(q k^T / sqrt(size)) v for each head, from qkv (tokens,
// 3 * heads * size), whose columns are all heads' q, then k, then v. Runs where the Context does.
void attention(const float* qkv, const Heads& shape, float* out, const postlude::Context& context);

// The same on the GPU, in attention.cu. Allocates nothing and does not wait.
void attention_cuda(const float* qkv, const Heads& shape, float* out, postlude::StreamRef stream);

}  // namespace engine
