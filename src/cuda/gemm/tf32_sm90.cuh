// The Hopper GEMM for fp32: three TF32 products by wgmma for each fp32 one, or one where the caller
// allows it.
//
// A number is hi + lo, each a TF32 number (see tf32.cuh), and
//
//     x * w = lo(x) * hi(w) + hi(x) * lo(w) + hi(x) * hi(w)
//
// but for lo(x) * lo(w), at most 2^-21 of the product, and of random sign as hi(x) is rounded to
// the nearest. wgmma takes x from registers, where the warps that multiply split it, and the weight
// from shared memory, where another warpgroup does: see tf32_sm90_feed.cuh. One product is that of
// x and w rounded to the nearest, by the same warps.
//
// The tensor cores truncate when they add, which drifts over a long sum. So they add up one tile
// along k (32), the small terms first; ordinary additions put these partial sums together.
//
// An infinity or a NaN leaves a sum that is not finite. Such sums are computed again in fp32.
//
// A cluster's blocks are the parts of k of one tile; their sums are added in the order of the
// parts.
#pragma once

#include <cooperative_groups.h>
#include <cutlass/arch/reg_reconfig.h>

#include <cute/arch/cluster_sm90.hpp>
#include <cute/arch/copy_sm75.hpp>
#include <cute/arch/mma_sm90_gmma.hpp>
#include <type_traits>
#include <utility>

#include "cuda/epilogue/chunk.cuh"
#include "cuda/gemm/tf32_sm90_feed.cuh"
#include "cuda/launch.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace tf32_sm90 {

template <class S>
using Wgmma =
    std::conditional_t<S::group_slots == 64, cute::SM90::GMMA::MMA_64x64x8_F32TF32TF32_RS_TN<>,
                       cute::SM90::GMMA::MMA_64x128x8_F32TF32TF32_RS_TN<>>;

// wgmma's description of a weight tile: lines of 128 bytes, permuted as the TMA does.
__device__ inline std::uint64_t weight_descriptor(const char* tile) {
  const std::uint64_t address = cute::cast_smem_ptr_to_uint(tile);
  return (address & 0x3ffff) >> 4 | std::uint64_t{1} << 16 | std::uint64_t{1024 >> 4} << 32 |
         std::uint64_t{1} << 62;
}

template <class Product, int... I>
__device__ __forceinline__ void add_product(const std::uint32_t (&x)[4], std::uint64_t weight,
                                            float* sums, bool begun,
                                            std::integer_sequence<int, I...>) {
  Product::fma(x[0], x[1], x[2], x[3], weight, sums[I]...,
               begun ? cute::SM90::GMMA::ScaleOut::One : cute::SM90::GMMA::ScaleOut::Zero);
}

using XFragments = std::uint32_t[steps][4];

// A consumer warpgroup: its part of the tile's sums, in registers.
template <class S, bool OneProduct>
__device__ __forceinline__ void multiply(const Place& place, typename S::Header& header,
                                         char* stages, int group, int thread,
                                         float (&total)[S::sums]) {
  constexpr auto all = std::make_integer_sequence<int, S::sums>{};
  const int lane = thread % 32;
  const int row = (S::by_rows ? 64 * group : 0) + thread / 32 * 16 + lane % 16;
  const int x_offset = row * line_bytes;
  const int swizzle = row % 8;
  const int weight_offset = S::x_bytes + (S::by_rows ? 0 : group * S::group_slots * line_bytes);
  Ring<S::stages> ring;
  XFragments x;
  const auto load_x = [&] {
    const char* const from = stages + ring.stage * S::stage_bytes + x_offset;
#pragma unroll
    for (int step = 0; step < steps; ++step) {
      cute::SM75_U32x4_LDSM_N::copy(*reinterpret_cast<const cute::uint128_t*>(
                                        from + (((2 * step + lane / 16) ^ swizzle) * 16)),
                                    x[step][0], x[step][1], x[step][2], x[step][3]);
    }
  };
  float partial[S::sums];
#pragma unroll
  for (int i = 0; i < S::sums; ++i) total[i] = partial[i] = 0.0f;
  if (place.k_tiles > 0) {
    header.full[0].wait(0);
    load_x();
  }
#pragma unroll 1
  for (int k = 0; k < place.k_tiles; ++k) {
    XFragments high, low;
#pragma unroll
    for (int step = 0; step < steps; ++step) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        if constexpr (OneProduct) {
          high[step][e] = nearest_tf32(x[step][e]);
        } else {
          high[step][e] = (x[step][e] + half) & kept;
          low[step][e] = rest(x[step][e], high[step][e]);
        }
      }
    }
    const int stage = ring.stage;
    const std::uint64_t weight_high =
        weight_descriptor(stages + stage * S::stage_bytes + weight_offset);
    const std::uint64_t weight_low = weight_high + (weight_bytes >> 4);
    header.split[stage].wait(ring.phase);
    cute::warpgroup_arrive();
    if constexpr (!OneProduct) {
#pragma unroll
      for (int step = 0; step < steps; ++step) {
        add_product<Wgmma<S>>(low[step], weight_high + 2 * step, partial, step > 0, all);
        add_product<Wgmma<S>>(high[step], weight_low + 2 * step, partial, true, all);
      }
    }
#pragma unroll
    for (int step = 0; step < steps; ++step) {
      add_product<Wgmma<S>>(high[step], weight_high + 2 * step, partial, !OneProduct || step > 0,
                            all);
    }
    cute::warpgroup_commit_batch();
    ring.next();
    if (k + 1 < place.k_tiles) {
      header.full[ring.stage].wait(ring.phase);
      load_x();
    }
    cute::warpgroup_wait<0>();
#pragma unroll
    for (int i = 0; i < S::sums; ++i) cute::warpgroup_fence_operand(partial[i]);
    if (lane == 0) header.empty[stage].arrive();
#pragma unroll
    for (int i = 0; i < S::sums; ++i) total[i] += partial[i];
  }
}

// Writes a warpgroup's sums to shared memory, by place.
template <class S>
__device__ __forceinline__ void store_sums(const EpilogueArgs& e, const float (&sums)[S::sums],
                                           float* tile, int group, int thread) {
  const int row = (S::by_rows ? 64 * group : 0) + thread / 32 * 16 + thread % 32 / 4;
  const int first_block = S::by_rows ? 0 : group * S::group_slots / 8;
  float* const to = tile + row * pitch + thread % 4 * 2;
#pragma unroll
  for (int block = 0; block < S::group_slots / 8; ++block) {
    float* const at = to + block_place<slots>(e, first_block + block);
    *reinterpret_cast<float2*>(at) = make_float2(sums[4 * block], sums[4 * block + 1]);
    *reinterpret_cast<float2*>(at + 8 * pitch) =
        make_float2(sums[4 * block + 2], sums[4 * block + 3]);
  }
}

template <int Count>
__device__ inline bool all_finite(const float (&sums)[Count]) {
  float zero = 0.0f;  // NaN once an infinity or a NaN is multiplied by 0
#pragma unroll
  for (int i = 0; i < Count; ++i) zero = fmaf(sums[i], 0.0f, zero);
  return zero == 0.0f;
}

// Whether a block of the cluster has a sum that is not finite. bad: this block's flag.
__device__ inline bool any_bad(const Tf32Sm90Args& a, int& bad) {
  if (a.split == 1) return bad != 0;
  const auto cluster = cooperative_groups::this_cluster();
  bool any = false;
  for (int part = 0; part < a.split; ++part) {
    any |= *cluster.map_shared_rank(&bad, static_cast<unsigned>(part)) != 0;
  }
  return any;
}

// The sums of a tile that are not finite, again in fp32. Run by the block of the first part; the
// others' sums of the same place become 0.
template <class S>
__device__ __noinline__ void mend(const Tf32Sm90Args& a, const Place& place, float* tile,
                                  int thread) {
  const EpilogueArgs& e = a.epilogue;
  const auto cluster = cooperative_groups::this_cluster();
  const std::int64_t row0 = static_cast<std::int64_t>(place.m) * S::rows;
  const std::int64_t column0 = static_cast<std::int64_t>(place.n) * tile_columns(e.gated, slots);
#pragma unroll 1
  for (int i = thread; i < S::rows * slots; i += consumers) {
    const std::int64_t row = row0 + i / slots;
    const bool up = e.gated && i % slots >= slots / 2;
    const std::int64_t column = column0 + (up ? i % slots - slots / 2 : i % slots);
    if (row >= e.m || column >= e.n) continue;
    float* const at = tile + i / slots * pitch + i % slots;
    float sum = 0.0f;
    for (int part = 0; part < a.split; ++part) {
      sum += *cluster.map_shared_rank(at, static_cast<unsigned>(part));
    }
    if (sum * 0.0f == 0.0f) continue;
    const float* const x = a.x_data + row * a.x_stride;
    const float* const weight =
        a.weight_data + (column + (up ? e.up_row : e.gate_row)) * a.weight_stride_n;
    sum = 0.0f;
    for (std::int64_t k = 0; k < a.k; ++k) sum = fmaf(x[k], weight[k * a.weight_stride_k], sum);
    *at = sum;
    for (int part = 1; part < a.split; ++part) {
      *cluster.map_shared_rank(at, static_cast<unsigned>(part)) = 0.0f;
    }
  }
}

using Finish = ChunkShape<slots, 4, 4, true>;

// Finishes this block's share of the tile: all of it, or every split-th run of its rows.
template <class S>
__device__ __forceinline__ void finish(const Tf32Sm90Args& a, const Place& place, float* tile,
                                       const float* bias, int thread) {
  const EpilogueArgs& e = a.epilogue;
  Chunk rows;
  rows.row0 = place.m * S::rows;
  const std::int64_t left = e.m - rows.row0;
  rows.rows = static_cast<int>(left < S::rows ? left : S::rows);
  rows.thread = thread + place.part * consumers;
  rows.threads = consumers * a.split;
  rows.column0 = place.n * tile_columns(e.gated, slots);
  rows.bias = bias;
  const auto cluster = cooperative_groups::this_cluster();
  const auto load = [&](int row, int at, auto& values) {
    const float* const from = tile + row * pitch + at;
    if (a.split == 1) return load_run(from, values);
    load_run(cluster.map_shared_rank(from, 0), values);
#pragma unroll
    for (int part = 1; part < tf32_sm90_max_split; ++part) {
      if (part < a.split) {
        float more[Finish::width];
        load_run(cluster.map_shared_rank(from, static_cast<unsigned>(part)), more);
#pragma unroll
        for (int i = 0; i < Finish::width; ++i) values[i] += more[i];
      }
    }
  };
  finish_chunk<float, Finish>(e, a.loop, rows, load);
}

template <int Rows, bool InOut>
__global__ void __launch_bounds__(threads, 1)
    tf32_sm90_gemm(const __grid_constant__ Tf32Sm90Args a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using S = Shape<Rows, InOut>;
  char* shared = shared_memory();
  shared += (1024 - cute::cast_smem_ptr_to_uint(shared) % 1024) % 1024;
  auto& header = *reinterpret_cast<typename S::Header*>(shared);
  char* const stages = shared + header_bytes;
  const int group = static_cast<int>(threadIdx.x) / warpgroup;  // 2: the one that feeds
  const int thread = static_cast<int>(threadIdx.x) % warpgroup;
  const Place place(a);
  const auto meet = [&] {
    if (a.split > 1) {
      cute::cluster_arrive();
      cute::cluster_wait();
    } else {
      __syncthreads();
    }
  };
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < S::stages; ++stage) {
      header.full[stage].init(1);
      header.split[stage].init(warpgroup);
      header.empty[stage].init(consumers / 32);
    }
    header.bad = 0;
    cutlass::arch::fence_barrier_init();
  }
  __syncthreads();
  release_successor();
  await_predecessor();

  float* const tile = reinterpret_cast<float*>(stages);
  if (group == 2) {
    cutlass::arch::warpgroup_reg_dealloc<S::feeder_registers>();
    if (a.one_product) {
      feed<S, true>(a, place, header, stages, thread);
    } else {
      feed<S, false>(a, place, header, stages, thread);
    }
    meet();
    if (any_bad(a, header.bad)) meet();
    if (a.split > 1) meet();
  } else {
    cutlass::arch::warpgroup_reg_alloc<S::consumer_registers>();
    const int consumer = group * warpgroup + thread;
    const int column0 = place.n * tile_columns(a.epilogue.gated, slots);
    if (consumer < slots) {
      header.bias[consumer] = place_bias<slots>(a.epilogue, column0, consumer);
    }
    if (consumer < Rows && place.part == 0) {
      prefetch_residual(a.epilogue, static_cast<std::int64_t>(place.m) * Rows, column0, slots,
                        consumer);
    }
    float sums[S::sums];
    if (a.one_product) {
      multiply<S, true>(place, header, stages, group, thread, sums);
    } else {
      multiply<S, false>(place, header, stages, group, thread, sums);
    }
    if (!all_finite(sums)) header.bad = 1;
    // Both warpgroups are done with the stages, in whose memory the sums go now.
    cutlass::arch::NamedBarrier::sync(consumers, 1);
    store_sums<S>(a.epilogue, sums, tile, group, thread);
    meet();
    if (any_bad(a, header.bad)) {
      if (place.part == 0) mend<S>(a, place, tile, consumer);
      meet();
    }
    finish<S>(a, place, tile, header.bias, consumer);
    // Nobody leaves while others read its sums.
    if (a.split > 1) meet();
  }
#endif
}

}  // namespace tf32_sm90

template <int Rows, bool InOut>
void Tf32Sm90Tile<Rows, InOut>::launch(const Tf32Sm90Args& args, bool programmatic,
                                       cudaStream_t stream) {
  LaunchShape shape;
  shape.blocks = static_cast<unsigned>(args.tiles_m) * static_cast<unsigned>(args.tiles_n) *
                 static_cast<unsigned>(args.split);
  shape.threads = tf32_sm90::threads;
  shape.stream = stream;
  shape.shared_bytes = tf32_sm90::Shape<Rows, InOut>::shared_bytes;
  shape.programmatic = programmatic;
  shape.cluster = static_cast<unsigned>(args.split);
  cuda::launch("cuda.tf32x3_sm90", tf32_sm90::tf32_sm90_gemm<Rows, InOut>, shape, args);
}

template <int Rows, bool InOut>
void Tf32Sm90Tile<Rows, InOut>::load() {
  load_kernel(tf32_sm90::tf32_sm90_gemm<Rows, InOut>, tf32_sm90::Shape<Rows, InOut>::shared_bytes);
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
