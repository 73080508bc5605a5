// The shapes of the block Hopper GEMM's tiles: what lies in a stage, which part of the product each
// warpgroup computes and how its sums get to shared memory.
#pragma once

#include "cuda/gemm/sm90_common.cuh"
#include "cuda/gemm/sm90_norm.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace sm90 {

// What the shapes have in common. A stage holds Depth lines of x, then Depth of the weight: tiles
// of 64 along k. Behind the consumers come two warps: the producer, and that which prepares the
// epilogue. Where a tile takes more registers than an even share, two idle warps make them a
// warpgroup, which hands its registers over.
template <class Element, int Rows, int Slots, int Cluster, int Depth, int Groups>
struct BlockTile {
  using T = Element;
  static constexpr int rows = Rows;
  static constexpr int slots = Slots;
  static constexpr int cluster = Cluster;
  static constexpr int depth = Depth;
  static constexpr int consumers = Groups * warpgroup;
  static constexpr bool lends = Rows * Slots / consumers > 128;  // sums of a thread
  static constexpr int threads = consumers + (lends ? warpgroup : 64);
  static constexpr int x_bytes = 2 * Rows * sm90_tile_k;  // of a line
  static constexpr int weight_bytes = 2 * Slots * sm90_tile_k;
  static constexpr int stage_bytes = Depth * (x_bytes + weight_bytes);
  static constexpr int x_part = Rows / Cluster;  // that a block loads
  static_assert(x_part % 8 == 0, "whole parts");
  // The epilogue has no more rows of a thread under way than a thread has: loops unrolled further
  // would never run, and take registers.
  static constexpr int rows_at_once(int most) {
    const int of_a_thread = Rows * Slots / 4 / consumers;
    return of_a_thread > most ? most : of_a_thread;
  }
  using Finish = ChunkShape<Slots, rows_at_once(4), rows_at_once(8), true>;

  struct Header {
    cutlass::arch::ClusterTransactionBarrier full[sm90_max_stages];
    cutlass::arch::ClusterBarrier empty[sm90_max_stages];
    alignas(16) float bias[Slots];
    float row_scale[Rows];
    float row_mean[Rows];
    NormSums norm;
  };
  static constexpr int header_bytes = sm90_header_bytes - 1024;
  static_assert(sizeof(Header) <= header_bytes, "fits");
};

// x on wgmma's side of 64: two warpgroups, each with half the rows or, where that is no multiple of
// 64, half the slots.
template <class T, int Rows, int Slots, int Cluster>
struct BlockShape : BlockTile<T, Rows, Slots, Cluster, 1, 2> {
  using Base = BlockTile<T, Rows, Slots, Cluster, 1, 2>;
  static constexpr bool by_rows = Rows % 128 == 0;
  static constexpr int group_rows = by_rows ? Rows / 2 : Rows;
  static constexpr int group_slots = by_rows ? Slots : Slots / 2;
  static constexpr bool norms = false;
  static constexpr int at_once = group_rows * group_slots <= 64 * 128 ? 2 : 1;
  // Floats from one row of sums to the next: an odd multiple of 8 spreads the stores over all
  // banks.
  static constexpr int pitch = sums_pitch(Slots);
  using Finish = typename Base::Finish;

  using Product = sm90::Product<T, group_rows, group_slots>;
  static __device__ int a_offset(int group) {
    return by_rows ? group * group_rows * sm90_tile_k * 2 : 0;
  }
  static __device__ int b_offset(int group) {
    return Base::x_bytes + (by_rows ? 0 : group * group_slots * sm90_tile_k * 2);
  }
  static constexpr int a_line = Base::x_bytes;
  static constexpr int b_line = Base::weight_bytes;

  template <class Sums>
  static __device__ __forceinline__ void store(const EpilogueArgs& e, const Sums& sums, float* tile,
                                               int group, int thread) {
    if (by_rows) {
      store_sums<0, Slots, 0, group_slots, pitch>(e, sums, tile + group * group_rows * pitch,
                                                  thread);
    } else if (group == 0) {
      store_sums<0, Slots, 0, group_slots, pitch>(e, sums, tile, thread);
    } else {
      store_sums<0, Slots, group_slots, group_slots, pitch>(e, sums, tile, thread);
    }
  }
};

// The weight on wgmma's side of 64 and x on that of 8 to 256, for few rows: a warpgroup for each 64
// slots.
template <class T, int Rows, int Slots, int Cluster>
struct SwapShape : BlockTile<T, Rows, Slots, Cluster, sm90_swap_depth(Rows, Slots), Slots / 64> {
  using Base = BlockTile<T, Rows, Slots, Cluster, sm90_swap_depth(Rows, Slots), Slots / 64>;
  // It can normalise x itself.
  static constexpr bool norms = Rows == sm90_norm_rows && Slots == sm90_norm_slots;
  static constexpr int at_once = Rows * Slots <= 128 * 128 ? 2 : 1;
  // Two rows, whose sums a thread stores, are 8 banks apart.
  static constexpr int pitch = Slots + 4;
  using Finish = typename Base::Finish;

  using Product = sm90::Product<T, 64, Rows>;
  static __device__ int a_offset(int group) {
    return Base::depth * Base::x_bytes + group * 64 * sm90_tile_k * 2;
  }
  static __device__ int b_offset(int) { return 0; }
  static constexpr int a_line = Base::weight_bytes;
  static constexpr int b_line = Base::x_bytes;

  template <class Sums>
  static __device__ __forceinline__ void store(const EpilogueArgs& e, const Sums& sums, float* tile,
                                               int group, int thread) {
    float* const to = tile + thread % 4 * 2 * pitch + thread % 32 / 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float* const at = to + block_place<Slots>(e, group * 8 + thread / 32 * 2 + half);
#pragma unroll
      for (int block = 0; block < Rows / 8; ++block) {
        at[block * 8 * pitch] = sums(make_coord(0, half, block), 0, 0);
        at[(block * 8 + 1) * pitch] = sums(make_coord(1, half, block), 0, 0);
      }
    }
  }
};

template <class T, int Rows, int Slots, int Cluster, bool Swap>
using Shape = std::conditional_t<Swap, SwapShape<T, Rows, Slots, Cluster>,
                                 BlockShape<T, Rows, Slots, Cluster>>;

}  // namespace sm90
}  // namespace cuda
}  // namespace detail
}  // namespace postlude
