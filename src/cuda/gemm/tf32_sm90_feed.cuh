// What fills the shared memory of the Hopper GEMM for fp32: the stages and their barriers, the
// copies by the TMA, and the splitting of the weight.
//
// wgmma takes the weight from shared memory: hi(w) is the weight as it arrives, as the tensor cores
// ignore the bits that TF32 lacks, and a third warpgroup writes lo(w) = w - hi(w) next to it. It
// also starts the copies. An [in, out] weight it turns first, as wgmma reads TF32 along k alone.
// For one product it writes the rounded weight in the weight's own place instead.
#pragma once

#include <cutlass/arch/barrier.h>

#include <cstdint>
#include <cute/arch/copy_sm90_desc.hpp>
#include <cute/arch/copy_sm90_tma.hpp>

#include "cuda/convert.cuh"
#include "cuda/epilogue/epilogue.cuh"
#include "cuda/gemm/tf32_sm90.hpp"

namespace postlude {
namespace detail {
namespace cuda {
namespace tf32_sm90 {

inline constexpr int warpgroup = 128;
inline constexpr int consumers = 2 * warpgroup;
inline constexpr int threads = 3 * warpgroup;
inline constexpr int tile_k = tf32_sm90_tile_k;
inline constexpr int slots = tf32_sm90_slots;
inline constexpr int line_bytes = 4 * tile_k;  // of a tile: what the TMA's swizzle repeats after
inline constexpr int steps = tile_k / 8;
inline constexpr int box_columns = tf32_sm90_box_columns;
inline constexpr int box_bytes = 4 * box_columns * tile_k;
inline constexpr int boxes = slots / box_columns;
inline constexpr int weight_bytes = line_bytes * slots;
inline constexpr int header_bytes = 2048;
inline constexpr int pitch = slots + 8;  // of the sums, in floats: spreads them over all banks

// What the rows of a tile and the weight's layout imply.
template <int Rows, bool InOut>
struct Shape {
  static constexpr int rows = Rows;
  static constexpr bool in_out = InOut;
  // What each warpgroup computes: half the rows, or of a tile of 64 rows half the slots.
  static constexpr bool by_rows = Rows > 64;
  static constexpr int group_slots = by_rows ? slots : slots / 2;
  static constexpr int sums = group_slots / 2;  // of a thread
  static constexpr int x_bytes = line_bytes * Rows;
  static constexpr int loaded_bytes = x_bytes + weight_bytes;
  static constexpr int stage_bytes = loaded_bytes + weight_bytes;  // with lo(w)
  static constexpr int stages = Tf32Sm90Tile<Rows, InOut>::stages;
  static constexpr int ahead = stages - 2;  // tiles that the copies are ahead of the splitting
  static constexpr int shared_bytes = 1024 + header_bytes + stages * stage_bytes;
  // Turning a tile of an [in, out] weight takes registers.
  static constexpr int consumer_registers = InOut ? 216 : 232;
  static constexpr int feeder_registers = InOut ? 72 : 40;
  static_assert(stages >= 3, "copies, splitting and products at once");
  static_assert(stage_bytes == Tf32Sm90Tile<Rows, InOut>::stage_bytes, "as the host counts");
  static_assert(4 * Rows * pitch <= stages * stage_bytes, "the sums reuse the stages");

  struct Header {
    cutlass::arch::ClusterTransactionBarrier full[stages];  // the TMA has filled it
    cutlass::arch::ClusterBarrier split[stages];            // lo(w) is there
    cutlass::arch::ClusterBarrier empty[stages];            // everybody has read it
    int bad;                                                // a sum is not finite
    alignas(16) float bias[slots];
  };
  static_assert(sizeof(Header) <= header_bytes, "fits");
};

// A place in the ring of stages.
template <int Stages>
struct Ring {
  int stage = 0;
  std::uint32_t phase = 0;
  __device__ void next() {
    if (++stage == Stages) {
      stage = 0;
      phase ^= 1;
    }
  }
};

// What one block computes: a part of k of a tile.
struct Place {
  int part;
  int m, n;
  int first_k;
  int k_tiles;

  __device__ explicit Place(const Tf32Sm90Args& a) {
    const int block = static_cast<int>(blockIdx.x);
    const int tile = block / a.split;
    part = block % a.split;
    const int a_group = a.raster * a.tiles_n;
    const int first = tile / a_group * a.raster;
    const int rows = a.tiles_m - first < a.raster ? a.tiles_m - first : a.raster;
    m = first + tile % a_group % rows;
    n = tile % a_group / rows;
    first_k = split_at(a, part);
    k_tiles = split_at(a, part + 1) - first_k;
  }
  __device__ static int split_at(const Tf32Sm90Args& a, int part) {
    return static_cast<int>(static_cast<std::int64_t>(a.k_tiles) * part / a.split);
  }
};

inline constexpr std::uint32_t kept = 0xffffe000u;  // the bits that TF32 keeps
inline constexpr std::uint32_t half = 0x1000u;      // of the last of them: added, it rounds

__device__ inline std::uint32_t rest(std::uint32_t x, std::uint32_t high) {
  return __float_as_uint(__uint_as_float(x) - __uint_as_float(high));
}

// lo(w), rounded once the tensor cores truncate it.
__device__ inline std::uint32_t weight_rest(std::uint32_t w) { return rest(w, w & kept) + half; }

// Starts the copies of a tile along k. slot: a multiple of 16 where gated.
template <class S>
__device__ inline void fetch(const Tf32Sm90Args& a, typename S::Header& header, char* stages,
                             int stage, int k, int row, int slot) {
  constexpr auto hint = static_cast<std::uint64_t>(cute::TMA::CacheHintSm90::EVICT_NORMAL);
  auto* const barrier = reinterpret_cast<std::uint64_t*>(&header.full[stage]);
  char* const to = stages + stage * S::stage_bytes;
  header.full[stage].arrive_and_expect_tx(S::loaded_bytes);
  if constexpr (S::in_out) {
    // Boxes of 32 columns, where gated those of the gate half and then those of the up half.
    const EpilogueArgs& e = a.epilogue;
    const int first = e.gated ? slot / 2 : slot;
#pragma unroll 1
    for (int box = 0; box < boxes; ++box) {
      const bool up = e.gated && box >= boxes / 2;
      const int column = first + box_columns * (up ? box - boxes / 2 : box) +
                         static_cast<int>(up ? e.up_row : e.gate_row);
      cute::SM90_TMA_LOAD_2D::copy(&a.weight, barrier, hint, to + S::x_bytes + box * box_bytes,
                                   column, k);
    }
  } else if (a.epilogue.gated) {
    cute::SM90_TMA_LOAD_4D::copy(&a.weight, barrier, hint, to + S::x_bytes, k, 0, 0, slot / 16);
  } else {
    cute::SM90_TMA_LOAD_2D::copy(&a.weight, barrier, hint, to + S::x_bytes, k, slot);
  }
  cute::SM90_TMA_LOAD_2D::copy(&a.x, barrier, hint, to, k, row);
}

// Writes lo(w) of a tile of lines along k next to it; for one product rounds it in its place.
template <class S, bool OneProduct>
__device__ __forceinline__ void split_lines(char* weight, int thread) {
  const char* const from = weight + 16 * thread;
  char* const to = weight + (OneProduct ? 0 : weight_bytes) + 16 * thread;
  const auto part = [](std::uint32_t w) { return OneProduct ? nearest_tf32(w) : weight_rest(w); };
  constexpr int pieces = weight_bytes / 16 / warpgroup;
  constexpr int batch = pieces < 4 ? pieces : 4;
#pragma unroll
  for (int first = 0; first < pieces; first += batch) {
    uint4 w[batch];
#pragma unroll
    for (int i = 0; i < batch; ++i) {
      w[i] = *reinterpret_cast<const uint4*>(from + (first + i) * 16 * warpgroup);
    }
#pragma unroll
    for (int i = 0; i < batch; ++i) {
      *reinterpret_cast<uint4*>(to + (first + i) * 16 * warpgroup) =
          make_uint4(part(w[i].x), part(w[i].y), part(w[i].z), part(w[i].w));
    }
  }
}

// Turns the boxes of an [in, out] weight into lines along k, in their place, and writes lo(w) next
// to them; for one product rounds them too, and that is all. A thread turns squares of 4 by 4. The
// 8 threads of a quarter of a warp have squares on a diagonal, so that both the rows they read and
// the lines they write lie in different banks.
template <class S, bool OneProduct>
__device__ __forceinline__ void split_columns(const EpilogueArgs& e, char* weight, int thread) {
  constexpr int squares = weight_bytes / 64 / warpgroup;
  const int four_columns = thread % 8;
  const int four_k = thread % 8 ^ thread / 8 % 8;
  uint4 rows[squares][4];
#pragma unroll
  for (int i = 0; i < squares; ++i) {
    const char* const box = weight + (thread / 64 + 2 * i) * box_bytes;
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const int k = 4 * four_k + r;
      rows[i][r] =
          *reinterpret_cast<const uint4*>(box + k * line_bytes + (four_columns ^ k % 8) * 16);
    }
  }
  cutlass::arch::NamedBarrier::sync(warpgroup, 2);  // everybody has read what is written now
#pragma unroll
  for (int i = 0; i < squares; ++i) {
    const int box = thread / 64 + 2 * i;
    const bool up = e.gated && box >= boxes / 2;
    const int column = box_columns * (up ? box - boxes / 2 : box) + 4 * four_columns;
    const int slot = e.gated ? column / 8 * 16 + (up != e.up_first ? 8 : 0) + column % 8 : column;
    const auto write = [&](int c, std::uint32_t w0, std::uint32_t w1, std::uint32_t w2,
                           std::uint32_t w3) {
      char* const to = weight + (slot + c) * line_bytes + (four_k ^ (slot + c) % 8) * 16;
      if constexpr (OneProduct) {
        *reinterpret_cast<uint4*>(to) =
            make_uint4(nearest_tf32(w0), nearest_tf32(w1), nearest_tf32(w2), nearest_tf32(w3));
      } else {
        *reinterpret_cast<uint4*>(to) = make_uint4(w0, w1, w2, w3);
        *reinterpret_cast<uint4*>(to + weight_bytes) =
            make_uint4(weight_rest(w0), weight_rest(w1), weight_rest(w2), weight_rest(w3));
      }
    };
    const uint4(&r)[4] = rows[i];
    write(0, r[0].x, r[1].x, r[2].x, r[3].x);
    write(1, r[0].y, r[1].y, r[2].y, r[3].y);
    write(2, r[0].z, r[1].z, r[2].z, r[3].z);
    write(3, r[0].w, r[1].w, r[2].w, r[3].w);
  }
}

// The third warpgroup: starts copies, and splits the weights that have arrived.
template <class S, bool OneProduct>
__device__ __forceinline__ void feed(const Tf32Sm90Args& a, const Place& place,
                                     typename S::Header& header, char* stages, int thread) {
  const auto fetch_tile = [&](int stage, int k) {
    fetch<S>(a, header, stages, stage, (place.first_k + k) * tile_k, place.m * S::rows,
             place.n * slots);
  };
  Ring<S::stages> ahead;
  if (thread == 0) {
    for (int k = 0; k < S::ahead && k < place.k_tiles; ++k) fetch_tile(k, k);
  }
  ahead.stage = S::ahead;
  Ring<S::stages> ring;
#pragma unroll 1
  for (int k = 0; k < place.k_tiles; ++k) {
    if (thread == 0 && k + S::ahead < place.k_tiles) {
      header.empty[ahead.stage].wait(ahead.phase ^ 1);  // free at first
      fetch_tile(ahead.stage, k + S::ahead);
    }
    __syncwarp();
    ahead.next();
    header.full[ring.stage].wait(ring.phase);
    char* const weight = stages + ring.stage * S::stage_bytes + S::x_bytes;
    if constexpr (S::in_out) {
      split_columns<S, OneProduct>(a.epilogue, weight, thread);
    } else {
      split_lines<S, OneProduct>(weight, thread);
    }
    cutlass::arch::fence_view_async_shared();
    header.split[ring.stage].arrive();
    ring.next();
  }
  __syncwarp();
}

}  // namespace tf32_sm90
}  // namespace cuda
}  // namespace detail
}  // namespace postlude
