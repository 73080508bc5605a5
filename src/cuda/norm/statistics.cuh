// The statistics of a row, from sums over the threads that share it.
#pragma once

#include "postlude/norm.hpp"

#include "cuda/launch.cuh"

namespace postlude {
namespace detail {
namespace cuda {

// norm(r) = (r - mean - correction) * rstd. The correction is what the rounded mean lacks, where it
// counts (fp32).
struct Statistics {
  float mean = 0.0f;
  float correction = 0.0f;
  float rstd = 1.0f;
};

// What a warp knows of its columns: sums of the differences from `center`, and of their squares.
struct WarpSums {
  float center, sum, squares, count;
};

// The threads that share a row: `lanes` of a warp, or all of `warps` warps, of which this one is
// number `warp` and has `count` columns.
struct RowTeam {
  int lanes;
  int warps;
  int warp;
  int count;
  WarpSums* of_warp;  // shared, one a warp; used once

  // Waits for all warps of the row, here those of a block.
  __device__ void meet() const { __syncthreads(); }
};

template <bool Both>
__device__ inline float2 sum_lanes(int lanes, float2 v) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    if (distance >= lanes) continue;
    if (Both) v.x += __shfl_xor_sync(0xffffffffu, v.x, distance);
    v.y += __shfl_xor_sync(0xffffffffu, v.y, distance);
  }
  return v;
}

// The sums over all warps of a row from each warp's, about the center of the first, which `own`
// takes over. Nothing large cancels: centers are means of parts of the row.
template <bool Both, class Team>
__device__ inline float2 sum_warps(const Team& team, WarpSums& own) {
  float2 v = make_float2(own.sum, own.squares);
  if (team.warps == 1) return v;
  const int lane = static_cast<int>(threadIdx.x % 32);
  if (lane == 0) team.of_warp[team.warp] = own;
  team.meet();
  v = make_float2(0.0f, 0.0f);
  own.center = team.of_warp[0].center;
  if (lane < team.warps) {
    const WarpSums other = team.of_warp[lane];
    const float shift = other.center - own.center;
    v.x = fmaf(other.count, shift, other.sum);
    v.y = fmaf(shift, other.sum + v.x, other.squares);
  }
  return sum_lanes<Both>(32, v);
}

// `values` are a thread's: sum(), squares(), and about(c), the sums of their differences from c and
// of the squares of these. LayerNorm takes a warp's squares about the warp's mean, which its
// registers allow, so that the warps have to meet but once. Exact: with a correction.
template <bool Exact, class Team, class Values>
__device__ inline Statistics row_statistics(NormKind kind, float inverse_h, float eps,
                                            const Team& team, const Values& values) {
  Statistics s;
  if (kind == NormKind::none) return s;
  WarpSums own{0.0f, 0.0f, 0.0f, static_cast<float>(team.count)};
  float variance;
  if (kind == NormKind::rms) {
    own.squares = sum_lanes<false>(team.lanes, make_float2(0.0f, values.squares())).y;
    variance = __fmul_rn(sum_warps<false>(team, own).y, inverse_h);
  } else {
    const float sum = sum_lanes<false>(team.lanes, make_float2(0.0f, values.sum())).y;
    own.center = __fdividef(sum, own.count);
    float2 v = sum_lanes<Exact>(team.lanes, values.about(own.center));
    own.sum = Exact ? v.x : 0.0f;
    own.squares = v.y;
    v = sum_warps<true>(team, own);
    s.mean = own.center;
    s.correction = __fmul_rn(v.x, inverse_h);
    variance = fmaxf(__fmul_rn(fmaf(-v.x, s.correction, v.y), inverse_h), 0.0f);
    if (!Exact) {
      s.mean += s.correction;
      s.correction = 0.0f;
    }
  }
  s.rstd = rsqrtf(__fadd_rn(variance, eps));
  return s;
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
