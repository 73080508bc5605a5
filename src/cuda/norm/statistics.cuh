// The statistics of a row: sums over the threads that share it, and mean and deviation from them.
#pragma once

#include <cooperative_groups.h>

#include "cuda/norm/row_runs.cuh"
#include "postlude/norm.hpp"

namespace postlude {
namespace detail {
namespace cuda {

// What the warps of a row tell each other. Two sets take turns: between two uses of one lies the
// barrier of the other.
template <int Parts>
struct SumMemory {
  float2 of_warp[2][Parts];
};

template <int Components>
__device__ inline void sum_lanes(int lanes, float2& v) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    if (distance >= lanes) continue;
    v.x += __shfl_xor_sync(0xffffffffu, v.x, distance);
    if (Components > 1) v.y += __shfl_xor_sync(0xffffffffu, v.y, distance);
  }
}

// The sums of both components over a block's warps, from those of each warp; the same in every
// thread and in every run.
template <int Parts>
__device__ inline float2 sum_warps(float2 v, int warps, SumMemory<Parts>& memory, int& turn) {
  if (warps == 1) return v;
  float2(&of_warp)[Parts] = memory.of_warp[turn];
  turn ^= 1;
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = v;
  __syncthreads();
  float2 sum = of_warp[0];
  for (int w = 1; w < warps; ++w) {
    sum.x += of_warp[w].x;
    sum.y += of_warp[w].y;
  }
  return sum;
}

__device__ inline void cluster_barrier() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cooperative_groups::this_cluster().sync();
#endif
}

// The same over all warps of a cluster: each tells every block. The blocks have begun
// (cluster_barrier).
template <int Parts>
__device__ inline float2 sum_cluster(float2 v, const RowSplit& s, SumMemory<Parts>& memory,
                                     int& turn) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  float2(&of_warp)[Parts] = memory.of_warp[turn];
  turn ^= 1;
  const auto cluster = cooperative_groups::this_cluster();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int own = static_cast<int>(cluster.block_rank()) * s.warps + warp;
  if (lane < s.ranks) *cluster.map_shared_rank(&of_warp[own], static_cast<unsigned>(lane)) = v;
  cluster.sync();
  float2 sum = make_float2(0.0f, 0.0f);
  for (int w = lane; w < s.ranks * s.warps; w += 32) {
    sum.x += of_warp[w].x;
    sum.y += of_warp[w].y;
  }
  sum_lanes<2>(32, sum);
  return sum;
#else
  return v;
#endif
}

// norm(r) = (r - mean - correction) * rstd.
struct Statistics {
  float mean = 0.0f;
  float correction = 0.0f;
  float rstd = 1.0f;
};

// for_runs(f) calls f(r, has) for each of a thread's runs of a row: its values, zero where has(i)
// is false. sum.one(v) and sum.two(v) add up over the row's threads. LayerNorm's second pass sums
// the differences from the rounded mean as well as their squares, which gives what the mean lacks;
// nothing large cancels.
template <class ForRuns, class Sum>
__device__ inline Statistics row_statistics(NormKind kind, float h, float eps, ForRuns&& for_runs,
                                            Sum&& sum) {
  Statistics s;
  if (kind == NormKind::none) return s;
  float2 v = make_float2(0.0f, 0.0f);
  if (kind == NormKind::rms) {
    for_runs([&](const auto& r, auto&&) {
      for (const float value : r) v.x = fmaf(value, value, v.x);
    });
    s.rstd = 1.0f / sqrtf(sum.one(v).x / h + eps);
    return s;
  }
  for_runs([&](const auto& r, auto&&) {
    for (const float value : r) v.x += value;
  });
  s.mean = sum.one(v).x / h;
  v = make_float2(0.0f, 0.0f);
  for_runs([&](const auto& r, auto&& has) {
    constexpr int width = sizeof(r) / sizeof(float);
#pragma unroll
    for (int i = 0; i < width; ++i) {
      const float d = has(i) ? r[i] - s.mean : 0.0f;
      v.x += d;
      v.y = fmaf(d, d, v.y);
    }
  });
  v = sum.two(v);
  s.correction = v.x / h;
  const float variance = (v.y - v.x * s.correction) / h;
  s.rstd = 1.0f / sqrtf((variance < 0.0f ? 0.0f : variance) + eps);
  return s;
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
