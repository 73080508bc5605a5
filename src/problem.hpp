// What a checked call asks of a backend: GEMMs with an epilogue, norms and residual sums over rows
// of memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "postlude/activation.hpp"
#include "postlude/norm.hpp"
#include "postlude/params.hpp"
#include "postlude/weight.hpp"

namespace postlude {
namespace detail {

// M rows of a matrix: row m starts at data + m * stride elements, inner stride 1. The stride may be
// 0 or negative for inputs. Absent where `present` is false; data may be null where nothing is read
// (a size of 0).
struct Rows {
  void* data = nullptr;
  DType dtype = DType::f32;
  std::int64_t stride = 0;
  bool present = false;

  char* row(std::int64_t m) const {
    return static_cast<char*>(data) + m * stride * static_cast<std::int64_t>(size_of(dtype));
  }
};

// A vector with stride 1, or one value for all (`scalar`).
struct Vector {
  const void* data = nullptr;
  DType dtype = DType::f32;
  bool present = false;
  bool scalar = false;
};

// A weight (N, K) as a kernel reads it.
struct WeightOperand {
  const void* data =
      nullptr;  // plain: element (n, k) is at n * stride_n + k * stride_k, one of which is 1
  DType dtype = DType::f32;  // i8: w = data * scale
  std::int64_t stride_n = 0;
  std::int64_t stride_k = 0;
  const WeightState* packed = nullptr;  // set instead of data: a backend's own layout
  const float* scales =
      nullptr;  // i8 only: rows: [n / rows_per_scale]; k: [n * (K / group_size) + k / group_size]
  Grouping grouping = Grouping::rows;
  std::int64_t group = 0;  // rows_per_scale or group_size
};

// r = x (+ residual) (+ bias) in fp32; r_out = r; n_out = norm(r) (+ add_after). kind none: n = r.
// rstd_out and mean_out take the statistics of r; only where the backend folds norms.
struct NormCall {
  const char* op = "";
  std::int64_t m = 0;
  std::int64_t h = 0;
  Rows x, residual, add_after;
  Vector bias;
  NormKind kind = NormKind::none;
  Vector weight, norm_bias;
  float eps = 0.0f;
  float weight_offset = 0.0f;
  Rows r_out, n_out;
  Rows rstd_out, mean_out;  // f32 (m, 1), stride 1
};

// out[m, n] for m < M, n < N with the formula of postlude/epilogue.hpp. The weight has
// weight_rows() rows.
struct Gemm {
  const char* op = "";  // for messages
  std::int64_t m = 0;
  std::int64_t n = 0;  // columns of out; the weight has 2n rows where gated
  std::int64_t k = 0;
  Rows x;
  WeightOperand weight;
  Vector row_scale, row_mean, col_scale, col_sum, bias;
  Vector shift;  // f32, added to bias: what a folded norm's own bias gives
  Activation activation = Activation::none;
  bool gated = false;
  GateLayout layout = GateLayout::gate_up;
  float clamp = 0.0f;  // 0: none
  Rows residual;
  float alpha = 1.0f;
  Rows out;
  bool batch_invariant = false;
  bool weights_static = true;  // see Context::set_weights_static
  bool allow_tf32 = false;     // see Context::set_allow_tf32
  int tile = -1;  // by a tune file: see GemmKernel::tile_number; -1: the kernel's own choice
  // Where present x is its input, and what is multiplied is norm(x): see GemmKernel::takes_norm.
  std::optional<NormCall> norm;

  std::int64_t weight_rows() const { return gated ? 2 * n : n; }
  // The first weight row of the (activated) gate half and of the up half.
  std::int64_t gate_row() const { return gated && layout == GateLayout::up_gate ? n : 0; }
  std::int64_t up_row() const { return layout == GateLayout::up_gate ? 0 : n; }
};

// out = outer[0] + outer[1] + inner_scale * (inner[0] + inner[1] + inner_bias[0] + inner_bias[1]),
// absent terms skipped.
struct ResidualCall {
  const char* op = "";
  std::int64_t m = 0;
  std::int64_t h = 0;
  Rows outer[2];
  Rows inner[2];
  Vector inner_bias[2];
  float inner_scale = 1.0f;
  Rows out;
};

// One line each: shapes, dtypes, layout and epilogue.
std::string to_string(const Gemm& gemm);
std::string to_string(const NormCall& call);
std::string to_string(const ResidualCall& call);

}  // namespace detail
}  // namespace postlude
