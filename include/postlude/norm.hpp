// Norm: a LayerNorm or RMSNorm over the last dimension, as a plain value.
#pragma once

#include <cstdint>

#include "postlude/tensor_view.hpp"

namespace postlude {
inline namespace v1 {

// Which norm; none leaves the row as it is.
enum class NormKind : std::uint8_t { none, layer, rms };

// The norm of each row r:
//
//   layer:  norm(r) = (r - mean(r)) / sqrt(var(r) + eps) * weight + bias
//   rms:    norm(r) = r / sqrt(mean(r^2) + eps) * (weight + weight_offset)
//
// Statistics are fp32 over the unrounded row r, the variance the biased one, summed from
// differences so that a large mean does not cancel it; the result is rounded once. weight (H,) and
// bias (H,) share x's dtype or are f32, stride 1; either may be absent (weight 1, bias 0). eps has
// no default: it comes from the model.
struct Norm {
  NormKind kind = NormKind::none;
  TensorView weight;
  TensorView bias;
  float eps = 0.0f;
  float weight_offset = 0.0f;

  explicit operator bool() const { return kind != NormKind::none; }

  static Norm layer(TensorView weight, TensorView bias, float eps) {
    return Norm{NormKind::layer, weight, bias, eps, 0.0f};
  }
  // weight_offset is 1 for Gemma, whose checkpoints store weight - 1.
  static Norm rms(TensorView weight, float eps, float weight_offset = 0.0f) {
    return Norm{NormKind::rms, weight, TensorView(), eps, weight_offset};
  }
};

}  // namespace v1
}  // namespace postlude
