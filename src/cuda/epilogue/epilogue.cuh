// The epilogue of every CUDA GEMM: from fp32 accumulators to one rounded store, by the formula of
// postlude/epilogue.hpp.
//
// A GEMM kernel computes a tile of rows of x by "slots", leaves it in shared memory and calls
// finish_tile. Slots are the weight rows of the tile's output columns: in their order, or where
// gated in groups of 16, 8 rows of the gate half and then the same 8 of the up half, so that what
// is multiplied lies side by side.
#pragma once

#include <cstdint>

#include "cuda/epilogue/activation.cuh"
#include "cuda/operands.cuh"
#include "problem.hpp"

namespace postlude {
namespace detail {
namespace cuda {

struct EpilogueArgs {
  std::int64_t m = 0;
  std::int64_t n = 0;  // columns of out
  ScaleArg row_scale, row_mean, col_scale, col_sum;
  VectorArg bias;
  ScaleArg shift;  // added to bias
  Activation activation = Activation::none;
  bool gated = false;
  std::int64_t gate_row = 0;  // the first weight row of each half; 0 where not gated
  std::int64_t up_row = 0;
  bool up_first = false;  // the up half's 8 slots come first in each group of 16
  float clamp = 0.0f;     // 0: none
  RowsArg residual;
  float alpha = 1.0f;
  RowsArg out;
};

inline EpilogueArgs epilogue_args(const Gemm& gemm) {
  EpilogueArgs e;
  e.m = gemm.m;
  e.n = gemm.n;
  e.row_scale = scale_arg(gemm.row_scale);
  e.row_mean = scale_arg(gemm.row_mean);
  e.col_scale = scale_arg(gemm.col_scale);
  e.col_sum = scale_arg(gemm.col_sum);
  e.bias = vector_arg(gemm.bias);
  e.shift = scale_arg(gemm.shift);
  e.activation = gemm.activation;
  e.gated = gemm.gated;
  e.gate_row = gemm.gate_row();
  e.up_row = gemm.gated ? gemm.up_row() : 0;
  e.clamp = gemm.clamp;
  e.residual = rows_arg(gemm.residual, gemm.m);
  e.alpha = gemm.alpha;
  e.out = rows_arg(gemm.out, gemm.m);
  return e;
}

// The output columns of a tile of `slots`.
__host__ __device__ inline int tile_columns(bool gated, int slots) {
  return gated ? slots / 2 : slots;
}

// Slot s of the tile that begins at output column `first`: its output column, and its row of the
// weight.
struct Slot {
  std::int64_t column;
  std::int64_t weight_row;
};

__device__ inline Slot slot_of(const EpilogueArgs& e, std::int64_t first, int s) {
  if (!e.gated) return {first + s, first + s};
  const std::int64_t column = first + s / 16 * 8 + s % 8;
  return {column, column + ((s / 8 % 2 == 0) != e.up_first ? e.gate_row : e.up_row)};
}

using Values = float[run_width];

// bias + shift of `count` weight rows from weight_row on, then zeros.
__device__ inline void load_bias(const EpilogueArgs& e, std::int64_t weight_row, int count,
                                 Values& bias) {
#pragma unroll
  for (int i = 0; i < run_width; ++i) bias[i] = 0.0f;
  if (e.bias.present()) e.bias.load_floats(weight_row, count, bias);
  if (e.shift.present()) {
#pragma unroll
    for (int i = 0; i < run_width; ++i) {
      if (i < count) bias[i] += e.shift.at(weight_row + i);
    }
  }
}

// acc = row_scale * col_scale * (acc - row_mean * col_sum) + bias, of `count` weight rows from
// weight_row on.
template <int Width>
__device__ inline void finish_product(const EpilogueArgs& e, std::int64_t row,
                                      std::int64_t weight_row, int count,
                                      const float (&bias)[Width], float (&acc)[Width]) {
  if (e.row_mean.present() && e.col_sum.present()) {
    const float mean = e.row_mean.at(row);
#pragma unroll
    for (int i = 0; i < Width; ++i) {
      if (i < count) acc[i] = fmaf(-mean, e.col_sum.at(weight_row + i), acc[i]);
    }
  }
  if (e.row_scale.present()) {
    const float scale = e.row_scale.at(row);
#pragma unroll
    for (int i = 0; i < Width; ++i) acc[i] *= scale;
  }
  if (e.col_scale.present()) {
#pragma unroll
    for (int i = 0; i < Width; ++i) {
      if (i < count) acc[i] *= e.col_scale.at(weight_row + i);
    }
  }
#pragma unroll
  for (int i = 0; i < Width; ++i) acc[i] += bias[i];
}

// Comparisons that are false for NaN, so that it passes.
__device__ inline float at_most(float v, float limit) { return v > limit ? limit : v; }
__device__ inline float at_least(float v, float limit) { return v < limit ? limit : v; }

// acc = act(acc), or clamped and act(acc) * up.
template <int Width>
__device__ inline void activate_run(const EpilogueArgs& e, bool gated, float (&acc)[Width],
                                    float (&up)[Width]) {
  if (gated && e.clamp > 0.0f) {
#pragma unroll
    for (int i = 0; i < Width; ++i) {
      acc[i] = at_most(acc[i], e.clamp);
      up[i] = at_most(at_least(up[i], -e.clamp), e.clamp);
    }
  }
  activate(e.activation, acc);
  if (gated) {
#pragma unroll
    for (int i = 0; i < Width; ++i) acc[i] *= up[i];
  }
}

// Stores out[row, column .. column + 8) as far as there are columns, from the accumulators `acc`
// (the gate's) and `up`.
__device__ inline void finish_run(const EpilogueArgs& e, std::int64_t row, std::int64_t column,
                                  Values& acc, Values& up) {
  const std::int64_t left = e.n - column;
  const int count = left < run_width ? static_cast<int>(left) : run_width;
  Values bias;
  load_bias(e, e.gate_row + column, count, bias);
  finish_product(e, row, e.gate_row + column, count, bias, acc);
  if (e.gated) {
    load_bias(e, e.up_row + column, count, bias);
    finish_product(e, row, e.up_row + column, count, bias, up);
  }
  activate_run(e, e.gated, acc, up);
  if (e.residual.present()) {
    Values residual;
    e.residual.load_floats(row, column, count, residual);
#pragma unroll
    for (int i = 0; i < run_width; ++i) acc[i] = fmaf(e.alpha, acc[i], residual[i]);
  } else {
#pragma unroll
    for (int i = 0; i < run_width; ++i) acc[i] *= e.alpha;
  }
  e.out.store_floats(row, column, count, acc);
}

template <int Width>
__device__ inline void load_run(const float* from, float (&values)[Width]) {
#pragma unroll
  for (int i = 0; i < Width; i += 4) {
    const float4 four = *reinterpret_cast<const float4*>(from + i);
    values[i] = four.x;
    values[i + 1] = four.y;
    values[i + 2] = four.z;
    values[i + 3] = four.w;
  }
}

// Finishes a tile of Rows by Slots accumulators, each row Pitch apart, that begins at out[row0,
// column0]. Threads of them share the work; this one is number `thread`. The loop is not unrolled,
// as its body is long.
template <int Rows, int Slots, int Pitch, int Threads>
__device__ inline void finish_tile(const EpilogueArgs& e, const float* tile, std::int64_t row0,
                                   std::int64_t column0, int thread) {
  static_assert(Slots % 16 == 0 && Pitch % 4 == 0, "runs are whole and aligned to 16 bytes");
  const int runs = tile_columns(e.gated, Slots) / run_width;
#pragma unroll 1
  for (int i = thread; i < Rows * runs; i += Threads) {
    const int row = i / runs;
    const int run = i % runs;
    if (row0 + row >= e.m || column0 + run * run_width >= e.n) continue;
    const float* from = tile + row * Pitch + run * (e.gated ? 2 : 1) * run_width;
    Values acc, up;
    load_run(e.up_first ? from + run_width : from, acc);
    if (e.gated) load_run(e.up_first ? from : from + run_width, up);
    finish_run(e, row0 + row, column0 + run * run_width, acc, up);
  }
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
