// What the Hopper GEMMs share: the wgmma of a warpgroup, the order of tiles, TMA loads and the way
// of the sums to shared memory.
#pragma once

#include <cutlass/arch/barrier.h>
#include <cutlass/arch/reg_reconfig.h>
#include <cutlass/bfloat16.h>
#include <cutlass/half.h>
#include <cstdint>
#include <cute/arch/cluster_sm90.hpp>
#include <cute/arch/copy_sm90_tma.hpp>
#include <cute/atom/mma_traits_sm90_gmma.hpp>
#include <cute/tensor.hpp>
#include <type_traits>

#include "cuda/epilogue/chunk.cuh"
#include "cuda/gemm/sm90.hpp"
#include "cuda/launch.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace sm90 {

using namespace cute;

inline constexpr int warpgroup = 128;
inline constexpr int threads = 3 * warpgroup;  // a producer and two consumers
inline constexpr int max_shared = 227 * 1024;

// Floats from one row of sums in shared memory to the next: an odd multiple of 8 spreads the stores
// over all banks.
constexpr int sums_pitch(int slots) { return slots / 8 % 2 == 0 ? slots + 8 : slots; }

template <class T>
using MmaType =
    std::conditional_t<std::is_same<T, __half>::value, cutlass::half_t, cutlass::bfloat16_t>;

// One warpgroup's product of Rows rows by Slots slots, operands in shared memory as TMA's 128-byte
// swizzle leaves them: lines of 64 elements along k.
template <class T, int Rows, int Slots>
struct Product {
  static constexpr int rows = Rows;
  static constexpr int slots = Slots;
  using Type = MmaType<T>;
  using Mma = decltype(make_tiled_mma(
      GMMA::ss_op_selector<Type, Type, float, cute::Shape<Int<64>, Int<Slots>, Int<sm90_tile_k>>,
                           GMMA::Major::K, GMMA::Major::K>()));
  template <int Lines, int Stages>
  using Layout = decltype(tile_to_shape(GMMA::Layout_K_SW128_Atom<Type>{},
                                        cute::Shape<Int<Lines>, Int<sm90_tile_k>, Int<Stages>>{}));

  __device__ static auto sums() {
    return partition_fragment_C(Mma{}, cute::Shape<Int<Rows>, Int<Slots>>{});
  }
};

// The tiles of one cluster, one after another. There are fewer than 2^31.
struct Walk {
  int index;

  __device__ Walk() : index(static_cast<int>(cluster_id_in_grid().x)) {}

  __device__ bool done(const Sm90Args& a) const { return index >= a.tiles; }
  __device__ void next(const Sm90Args& a, int tiles = 1) { index += tiles * a.clusters; }

  // Row and column tile: `raster` row tiles go through the columns together, so that what they read
  // stays in L2.
  __device__ void tile(const Sm90Args& a, int& m, int& n) const {
    int group, inside;
    a.group_tiles(group, inside, index);
    const int first = group * a.raster.divisor;
    a.raster(n, m, inside);
    if (first + a.raster.divisor > a.tiles_m) a.last_rows(n, m, inside);
    m += first;
  }
};

// Where a box goes: a barrier and an address of this block, and the blocks that get it at the same
// place (0: this one alone).
struct Target {
  std::uint64_t* barrier;
  char* to;
  std::uint16_t blocks;
};

inline constexpr auto cache_hint = static_cast<std::uint64_t>(TMA::CacheHintSm90::EVICT_NORMAL);

__device__ __forceinline__ void load_x(const Sm90Args& a, const Target& t, int column, int row) {
  if (t.blocks != 0) {
    SM90_TMA_LOAD_MULTICAST_2D::copy(&a.x, t.barrier, t.blocks, cache_hint, t.to, column, row);
  } else {
    SM90_TMA_LOAD_2D::copy(&a.x, t.barrier, cache_hint, t.to, column, row);
  }
}

// `slot` is a multiple of 16 where gated.
__device__ __forceinline__ void load_weight(const Sm90Args& a, const Target& t, int column,
                                            int slot) {
  const auto cache_hint = static_cast<std::uint64_t>(
      a.weight_once ? TMA::CacheHintSm90::EVICT_FIRST : TMA::CacheHintSm90::EVICT_NORMAL);
  if (t.blocks != 0) {
    if (a.epilogue.gated) {
      SM90_TMA_LOAD_MULTICAST_4D::copy(&a.weight, t.barrier, t.blocks, cache_hint, t.to, column, 0,
                                       0, slot / 16);
    } else {
      SM90_TMA_LOAD_MULTICAST_2D::copy(&a.weight, t.barrier, t.blocks, cache_hint, t.to, column,
                                       slot);
    }
  } else {
    if (a.epilogue.gated) {
      SM90_TMA_LOAD_4D::copy(&a.weight, t.barrier, cache_hint, t.to, column, 0, 0, slot / 16);
    } else {
      SM90_TMA_LOAD_2D::copy(&a.weight, t.barrier, cache_hint, t.to, column, slot);
    }
  }
}

// Writes Count of a warpgroup's sums from slot First on to shared memory, by place, rows Pitch
// floats apart: as slots Offset and on of a chunk of ChunkSlots.
template <int First, int ChunkSlots, int Offset, int Count, int Pitch, class Sums>
__device__ __forceinline__ void store_sums(const EpilogueArgs& e, const Sums& sums, float* to,
                                           int thread) {
  to += (thread / 32 * 16 + thread % 32 / 4) * Pitch + thread % 4 * 2;
#pragma unroll
  for (int block = 0; block < Count / 8; ++block) {
    float* const at = to + block_place<ChunkSlots>(e, Offset / 8 + block);
#pragma unroll
    for (int i = 0; i < 2 * size<1>(sums); ++i) {
      float2 pair;
      pair.x = sums(make_coord(0, i % 2, First / 8 + block), i / 2, 0);
      pair.y = sums(make_coord(1, i % 2, First / 8 + block), i / 2, 0);
      *reinterpret_cast<float2*>(at + (i / 2 * 64 + i % 2 * 8) * Pitch) = pair;
    }
  }
}

// Brings row_scale and row_mean of `rows` rows from row0 on to shared memory, a row a thread, where
// the loop takes them from there.
__device__ inline void stage_row_scales(const Sm90Args& a, int row0, int rows, float* scale,
                                        float* mean, int thread) {
  if (a.loop != EpilogueLoop::scaled || thread >= rows || row0 + thread >= a.epilogue.m) return;
  scale[thread] = a.epilogue.row_scale.at(row0 + thread);
  if (a.epilogue.row_mean.present()) mean[thread] = a.epilogue.row_mean.at(row0 + thread);
}

__device__ inline void prefetch_maps(const Sm90Args& a) {
  prefetch_tma_descriptor(reinterpret_cast<const TmaDescriptor*>(&a.x));
  prefetch_tma_descriptor(reinterpret_cast<const TmaDescriptor*>(&a.weight));
}

// Where the kernels' shared memory begins: aligned as the swizzle wants it, at the same place in
// every block.
__device__ inline char* aligned_shared() {
  char* shared = shared_memory();
  return shared + (1024 - cast_smem_ptr_to_uint(shared) % 1024) % 1024;
}

}  // namespace sm90
}  // namespace cuda
}  // namespace detail
}  // namespace postlude
