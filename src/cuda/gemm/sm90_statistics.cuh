// The statistics of a few rows of x inside the GEMM that multiplies them: one warp of a block adds
// them up, stage by stage, while others multiply, and no kernel of their own comes ahead.
#pragma once

#include "cuda/gemm/sm90_common.cuh"
#include "cuda/norm/held_row.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace sm90 {

// A warp's lanes shared out to the rows, whose number is rounded up to a power of two.
struct RowLanes {
  int lanes;  // of a row
  int row;
  int part;  // of the row's lanes

  __device__ RowLanes(int rows, int lane) {
    lanes = 32;
    while (32 / lanes < rows) lanes /= 2;
    row = lane / lanes;
    part = lane % lanes;
  }
};

// row_scale = rstd and row_mean = mean of the rows of x that pass through the stages, k in one
// part. A LayerNorm's sums are taken about the mean of the row's first columns, so that nothing
// large cancels.
template <class S>
__device__ __forceinline__ void own_statistics(const Sm90Args& a, const char* stages,
                                               typename S::Header& header, int lane) {
  constexpr int pieces = 8 * S::depth;  // of 16 bytes, of a row in a stage
  const NormArgs& norm = a.norm;
  const RowLanes own(static_cast<int>(norm.m), lane);
  const bool centred = norm.kind == NormKind::layer;
  const int h = static_cast<int>(norm.h);
  float center = 0.0f;
  float sum[2] = {0.0f, 0.0f}, squares[2] = {0.0f, 0.0f};
  int stage = 0;
  std::uint32_t phase = 0;
#pragma unroll 1
  for (int k = 0; k < a.k_tiles; ++k) {
    header.full[stage].wait(phase);
    const char* const x = stages + stage * S::stage_bytes + own.row * sm90_tile_k * 2;
    const auto load = [&](int piece, float (&values)[8]) {
      const int place = (piece % 8 ^ own.row % 8) * 16;  // as TMA's swizzle has it
      unpack<typename S::T>(*reinterpret_cast<const uint4*>(x + piece / 8 * S::x_bytes + place),
                            values);
    };
    if (centred && k == 0) {
      for (int piece = own.part; piece < pieces; piece += own.lanes) {
        float values[8];
        load(piece, values);
#pragma unroll
        for (const float value : values) center += value;
      }
      center = sum_lanes<false>(own.lanes, make_float2(0.0f, center)).y /
               static_cast<float>(min(h, pieces * 8));
    }
    for (int piece = own.part; piece < pieces; piece += own.lanes) {
      float values[8];
      load(piece, values);
      const int left = h - (k * pieces + piece) * 8;  // columns; the rest reads as zeros
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        const float d = centred && e >= left ? 0.0f : values[e] - center;
        sum[e % 2] += d;
        squares[e % 2] = fmaf(d, d, squares[e % 2]);
      }
    }
    __syncwarp();
    if (lane == 0) header.empty[stage].arrive();
    if (++stage == a.stages) {
      stage = 0;
      phase ^= 1;
    }
  }
  const float2 all =
      sum_lanes<true>(own.lanes, make_float2(sum[0] + sum[1], squares[0] + squares[1]));
  const float correction = centred ? all.x * norm.inverse_h : 0.0f;
  const float variance = fmaxf(fmaf(-all.x, correction, all.y) * norm.inverse_h, 0.0f);
  if (own.part != 0 || own.row >= norm.m) return;
  header.row_scale[own.row] = rsqrtf(variance + norm.eps);
  header.row_mean[own.row] = center + correction;
}

}  // namespace sm90
}  // namespace cuda
}  // namespace detail
}  // namespace postlude
