// The parameter structs of the ops, one an op, filled by member name.
//
// Shapes below: "..." is any leading dimensions, the same for every activation of a call, M their
// product (1 where there are none); H, K input features; I intermediate; N output features.
// Activations have inner stride 1 and any other strides; leading dimensions need not collapse. They
// share one dtype: f32, bf16 or f16.
#pragma once

#include <cstdint>
#include <optional>

#include "postlude/activation.hpp"
#include "postlude/epilogue.hpp"
#include "postlude/norm.hpp"
#include "postlude/tensor_view.hpp"
#include "postlude/weight.hpp"

namespace postlude {
inline namespace v1 {

// What linear reads.
struct LinearParams {
  TensorView x;       // (..., K)
  WeightRef weight;   // (N, K); gated: (2*I, K)
  Epilogue epilogue;  // bias, activation, gate, residual, scales
};

// What qkv reads, and its optional output.
struct QkvParams {
  TensorView x;           // (..., K)
  WeightRef weight;       // (N, K)
  TensorView bias;        // (N,), optional
  Norm norm;              // optional
  TensorView normed_out;  // (..., K), optional output: norm(x)
};

// What mlp reads, and its optional outputs.
struct MlpParams {
  TensorView x;          // (..., H)
  WeightRef weight_in;   // (I, H); gated: (2*I, H)
  WeightRef weight_out;  // (N, I)
  TensorView bias_in;    // (I,); gated: (2*I,); optional
  TensorView bias_out;   // (N,), optional
  Activation activation = Activation::none;
  bool gated = false;
  GateLayout layout = GateLayout::gate_up;
  std::optional<float> clamp;  // gated only
  Norm norm;                   // optional
  TensorView residual;         // (..., H), optional: r = x + residual + input_bias
  TensorView input_bias;       // (H,), optional
  bool add_residual = true;    // y += r (needs N = H)
  TensorView
      parallel_residual;    // (..., N), optional: y += this instead of r (GPT-J's parallel form)
  TensorView residual_out;  // (..., H), optional output: r
  TensorView normed_out;    // (..., H), optional output: norm(r)
};

// What norm reads, and its optional output.
struct NormParams {
  TensorView x;             // (..., H)
  Norm norm;                // required
  TensorView residual;      // (..., H), optional
  TensorView bias;          // (H,), optional
  TensorView add_after;     // (..., H), optional: out = add_after + norm(r)
  TensorView residual_out;  // (..., H), optional output: r
};

// The residual forms of DeepSpeed inference; see residual_add.
enum class ResidualForm : std::uint8_t { pre_ln, post_ln, parallel };

// What residual_add reads.
struct ResidualAddParams {
  TensorView hidden_state;      // (..., H): h
  TensorView residual;          // (..., H): r
  TensorView attention_output;  // (..., H), optional, not with post_ln: a
  TensorView attention_bias;    // (H,), optional, not with post_ln: ba
  TensorView final_bias;        // (H,), optional: bf
  ResidualForm form = ResidualForm::pre_ln;
  std::int64_t mp_size = 1;  // p >= 1, the number of tensor-parallel ranks
};

}  // namespace v1
}  // namespace postlude
