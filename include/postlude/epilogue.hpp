// Epilogue: what happens to a GEMM's accumulator before it is stored, as a plain value in one fixed
// order.
#pragma once

#include <optional>
#include <string>

#include "postlude/activation.hpp"
#include "postlude/export.hpp"
#include "postlude/tensor_view.hpp"

namespace postlude {
inline namespace v1 {

// For the accumulator acc[m, n] = sum_k x[m, k] * weight[n, k], all in fp32:
//
//   z[m, n]   = row_scale[m] * col_scale[n] * (acc[m, n] - row_mean[m] * col_sum[n]) + bias[n]
//   h[m, n]   = act(z[m, n])                                     not gated: N outputs
//             = act(min(z_gate, clamp)) * min(max(z_up, -clamp), clamp)   gated: N/2 outputs,
//             halves by `layout`
//   out[m, n] = residual[m, n] + alpha * h[m, n]                 rounded once, to out's dtype
//
// Every field may be left as it is (absent views, no activation, alpha 1). row_scale and row_mean
// are f32 (M,) or, for row_scale, (1,) per tensor; col_scale and col_sum are f32 (N,) or, for
// col_scale, (1,); bias is (N,) in x's dtype or f32. N is the number of weight rows, also when
// gated. residual has out's shape and x's dtype.
struct Epilogue {
  TensorView row_scale;
  TensorView row_mean;
  TensorView col_scale;
  TensorView col_sum;
  TensorView bias;
  Activation activation = Activation::none;
  bool gated = false;
  GateLayout layout = GateLayout::gate_up;
  std::optional<float> clamp;  // gated only, > 0
  TensorView residual;
  float alpha = 1.0f;
  std::optional<DType> out_dtype;  // f32, bf16 or f16; by default x's dtype
};

// Why this combination of fields is illegal whatever the shapes, or an empty string where it is
// legal.
POSTLUDE_API std::string refusal(const Epilogue& epilogue);

}  // namespace v1
}  // namespace postlude
