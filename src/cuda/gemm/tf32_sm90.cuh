// The Hopper GEMM for fp32: three TF32 products by wgmma for each fp32 one, weights [out, in].
//
// A number is hi + lo, each a TF32 number (see tf32.cuh), and
//
//     x * w = lo(x) * hi(w) + hi(x) * lo(w) + hi(x) * hi(w)
//
// but for lo(x) * lo(w), at most 2^-21 of the product, and of random sign as hi(x) is rounded to
// the nearest. wgmma takes x from registers, where the warps that multiply split it. It takes the
// weight from shared memory: hi(w) is the weight as it arrives, as the tensor cores ignore the bits
// that TF32 lacks, and a third warpgroup writes lo(w) = w - hi(w) next to it. This warpgroup also
// starts the copies by the TMA.
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
#include <cutlass/arch/barrier.h>
#include <cutlass/arch/reg_reconfig.h>

#include <cstdint>
#include <cute/arch/cluster_sm90.hpp>
#include <cute/arch/copy_sm75.hpp>
#include <cute/arch/copy_sm90_tma.hpp>
#include <cute/arch/mma_sm90_gmma.hpp>
#include <utility>

#include "cuda/epilogue/chunk.cuh"
#include "cuda/gemm/tf32_sm90.hpp"
#include "cuda/launch.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace tf32_sm90 {

inline constexpr int warpgroup = 128;
inline constexpr int consumers = 2 * warpgroup;
inline constexpr int threads = 3 * warpgroup;
inline constexpr int tile_k = tf32_sm90_tile_k;
inline constexpr int line_bytes = 4 * tile_k;  // of a tile: what the TMA's swizzle repeats after
inline constexpr int steps = tile_k / 8;
inline constexpr int box_columns = 32;  // of an [in, out] weight: what the TMA copies at once
inline constexpr int box_bytes = 4 * box_columns * tile_k;

template <int Slots>
struct WgmmaOf;
template <>
struct WgmmaOf<32> {
  using Type = cute::SM90::GMMA::MMA_64x32x8_F32TF32TF32_RS_TN<>;
};
template <>
struct WgmmaOf<64> {
  using Type = cute::SM90::GMMA::MMA_64x64x8_F32TF32TF32_RS_TN<>;
};
template <>
struct WgmmaOf<128> {
  using Type = cute::SM90::GMMA::MMA_64x128x8_F32TF32TF32_RS_TN<>;
};
template <>
struct WgmmaOf<192> {
  using Type = cute::SM90::GMMA::MMA_64x192x8_F32TF32TF32_RS_TN<>;
};

// What a tile size implies.
template <int Rows, int Slots, int BlocksAnSm, bool InOut>
struct Shape {
  static constexpr bool in_out = InOut;
  // What each warpgroup computes: half the rows, or of a tile of 64 rows half the slots.
  static constexpr bool by_rows = Rows > 64;
  static constexpr int group_slots = by_rows ? Slots : Slots / 2;
  static constexpr int sums = group_slots / 2;  // of a thread
  static constexpr int x_bytes = line_bytes * Rows;
  static constexpr int weight_bytes = line_bytes * Slots;
  static constexpr int boxes = Slots / box_columns;
  static constexpr int loaded_bytes = x_bytes + weight_bytes;
  static constexpr int stage_bytes = loaded_bytes + weight_bytes;  // with lo(w)
  static constexpr int blocks_an_sm = BlocksAnSm;
  static constexpr int header_bytes = 2048;
  static constexpr int room = (blocks_an_sm == 2 ? 112 : 226) * 1024 - 1024 - header_bytes;
  static constexpr int stages = room / stage_bytes < 6 ? room / stage_bytes : 6;
  static constexpr int ahead = stages - 2;  // tiles that the copies are ahead of the splitting
  static constexpr int pitch = (Slots + 23) / 32 * 32 + 8;  // spreads the sums over all banks
  static constexpr int shared_bytes = 1024 + header_bytes + stages * stage_bytes;
  static constexpr int consumer_registers = blocks_an_sm == 2 ? (InOut ? 88 : 104)
                                            : InOut           ? 216
                                                              : 232;
  static constexpr int splitter_registers = blocks_an_sm == 2 ? (InOut ? 64 : 32) : InOut ? 72 : 40;
  using Finish = ChunkShape<Slots, 4, blocks_an_sm == 2 ? 2 : 4, true>;
  using Wgmma = typename WgmmaOf<group_slots>::Type;
  static_assert(stages >= 3, "copies, splitting and products at once");
  static_assert(4 * Rows * pitch <= stages * stage_bytes, "the sums reuse the stages");

  struct Header {
    cutlass::arch::ClusterTransactionBarrier full[stages];  // the TMA has filled it
    cutlass::arch::ClusterBarrier split[stages];            // lo(w) is there
    cutlass::arch::ClusterBarrier empty[stages];            // everybody has read it
    int bad;                                                // a sum is not finite
    alignas(16) float bias[Slots];
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

// Starts the copies of a tile along k.
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
    for (int box = 0; box < S::boxes; ++box) {
      const bool up = e.gated && box >= S::boxes / 2;
      const int column = first + box_columns * (up ? box - S::boxes / 2 : box) +
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

// Writes lo(w) of a tile of lines along k next to it.
template <class S>
__device__ __forceinline__ void split_lines(char* weight, int thread) {
  const char* const from = weight + 16 * thread;
  char* const to = weight + S::weight_bytes + 16 * thread;
  constexpr int pieces = S::weight_bytes / 16 / warpgroup;
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
      *reinterpret_cast<uint4*>(to + (first + i) * 16 * warpgroup) = make_uint4(
          weight_rest(w[i].x), weight_rest(w[i].y), weight_rest(w[i].z), weight_rest(w[i].w));
    }
  }
}

// Turns the boxes of an [in, out] weight into lines along k, in their place, and writes lo(w) next
// to them. A thread turns squares of 4 by 4. The 8 threads of a quarter of a warp have squares on a
// diagonal, so that both the rows they read and the lines they write lie in different banks.
template <class S>
__device__ __forceinline__ void split_columns(const EpilogueArgs& e, char* weight, int thread) {
  constexpr int squares = S::weight_bytes / 64 / warpgroup;
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
    const bool up = e.gated && box >= S::boxes / 2;
    const int column = box_columns * (up ? box - S::boxes / 2 : box) + 4 * four_columns;
    const int slot = e.gated ? column / 8 * 16 + (up != e.up_first ? 8 : 0) + column % 8 : column;
    const auto write = [&](int c, std::uint32_t w0, std::uint32_t w1, std::uint32_t w2,
                           std::uint32_t w3) {
      char* const to = weight + (slot + c) * line_bytes + (four_k ^ (slot + c) % 8) * 16;
      *reinterpret_cast<uint4*>(to) = make_uint4(w0, w1, w2, w3);
      *reinterpret_cast<uint4*>(to + S::weight_bytes) =
          make_uint4(weight_rest(w0), weight_rest(w1), weight_rest(w2), weight_rest(w3));
    };
    const uint4(&r)[4] = rows[i];
    write(0, r[0].x, r[1].x, r[2].x, r[3].x);
    write(1, r[0].y, r[1].y, r[2].y, r[3].y);
    write(2, r[0].z, r[1].z, r[2].z, r[3].z);
    write(3, r[0].w, r[1].w, r[2].w, r[3].w);
  }
}

// The third warpgroup: starts copies, and splits the weights that have arrived.
template <class S, int Rows, int Slots>
__device__ __forceinline__ void feed(const Tf32Sm90Args& a, const Place& place,
                                     typename S::Header& header, char* stages, int thread) {
  const auto fetch_tile = [&](int stage, int k) {
    fetch<S>(a, header, stages, stage, (place.first_k + k) * tile_k, place.m * Rows,
             place.n * Slots);
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
      split_columns<S>(a.epilogue, weight, thread);
    } else {
      split_lines<S>(weight, thread);
    }
    cutlass::arch::fence_view_async_shared();
    __syncwarp();
    if (thread % 32 == 0) header.split[ring.stage].arrive();
    ring.next();
  }
  __syncwarp();
}

// wgmma's description of a weight tile: lines of 128 bytes, permuted as the TMA does.
__device__ inline std::uint64_t weight_descriptor(const char* tile) {
  const std::uint64_t address = cute::cast_smem_ptr_to_uint(tile);
  return (address & 0x3ffff) >> 4 | std::uint64_t{1} << 16 | std::uint64_t{1024 >> 4} << 32 |
         std::uint64_t{1} << 62;
}

template <class Wgmma, int... I>
__device__ __forceinline__ void add_product(const std::uint32_t (&x)[4], std::uint64_t weight,
                                            float* sums, bool begun,
                                            std::integer_sequence<int, I...>) {
  Wgmma::fma(x[0], x[1], x[2], x[3], weight, sums[I]...,
             begun ? cute::SM90::GMMA::ScaleOut::One : cute::SM90::GMMA::ScaleOut::Zero);
}

using XFragments = std::uint32_t[steps][4];

// A consumer warpgroup: its part of the tile's sums, in registers.
template <class S, int Promote>
__device__ __forceinline__ void multiply(const Place& place, typename S::Header& header,
                                         char* stages, int group, int thread,
                                         float (&total)[S::sums]) {
  using Wgmma = typename S::Wgmma;
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
        high[step][e] = (x[step][e] + half) & kept;
        low[step][e] = rest(x[step][e], high[step][e]);
      }
    }
    const int stage = ring.stage;
    const std::uint64_t weight_high =
        weight_descriptor(stages + stage * S::stage_bytes + weight_offset);
    const std::uint64_t weight_low = weight_high + (S::weight_bytes >> 4);
    const bool begun = k % Promote != 0;
    header.split[stage].wait(ring.phase);
    cute::warpgroup_arrive();
#pragma unroll
    for (int step = 0; step < steps; ++step) {
      add_product<Wgmma>(low[step], weight_high + 2 * step, partial, begun || step > 0, all);
      add_product<Wgmma>(high[step], weight_low + 2 * step, partial, true, all);
    }
#pragma unroll
    for (int step = 0; step < steps; ++step) {
      add_product<Wgmma>(high[step], weight_high + 2 * step, partial, true, all);
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
    if (Promote == 1 || k % Promote == Promote - 1 || k + 1 == place.k_tiles) {
#pragma unroll
      for (int i = 0; i < S::sums; ++i) total[i] += partial[i];
    }
  }
}

// Writes a warpgroup's sums to shared memory, by place.
template <class S, int Slots>
__device__ __forceinline__ void store_sums(const EpilogueArgs& e, const float (&sums)[S::sums],
                                           float* tile, int group, int thread) {
  const int row = (S::by_rows ? 64 * group : 0) + thread / 32 * 16 + thread % 32 / 4;
  const int first_block = S::by_rows ? 0 : group * S::group_slots / 8;
  float* const to = tile + row * S::pitch + thread % 4 * 2;
#pragma unroll
  for (int block = 0; block < S::group_slots / 8; ++block) {
    float* const at = to + block_place<Slots>(e, first_block + block);
    *reinterpret_cast<float2*>(at) = make_float2(sums[4 * block], sums[4 * block + 1]);
    *reinterpret_cast<float2*>(at + 8 * S::pitch) =
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
template <class S, int Rows, int Slots>
__device__ __noinline__ void mend(const Tf32Sm90Args& a, const Place& place, float* tile,
                                  int thread) {
  const EpilogueArgs& e = a.epilogue;
  const auto cluster = cooperative_groups::this_cluster();
  const std::int64_t row0 = static_cast<std::int64_t>(place.m) * Rows;
  const std::int64_t column0 = static_cast<std::int64_t>(place.n) * tile_columns(e.gated, Slots);
#pragma unroll 1
  for (int i = thread; i < Rows * Slots; i += consumers) {
    const std::int64_t row = row0 + i / Slots;
    const bool up = e.gated && i % Slots >= Slots / 2;
    const std::int64_t column = column0 + (up ? i % Slots - Slots / 2 : i % Slots);
    if (row >= e.m || column >= e.n) continue;
    float* const at = tile + i / Slots * S::pitch + i % Slots;
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

// Finishes this block's share of the tile: all of it, or every split-th run of its rows.
template <class S, int Rows, int Slots>
__device__ __forceinline__ void finish(const Tf32Sm90Args& a, const Place& place, float* tile,
                                       const float* bias, int thread) {
  const EpilogueArgs& e = a.epilogue;
  Chunk rows;
  rows.row0 = place.m * Rows;
  const std::int64_t left = e.m - rows.row0;
  rows.rows = static_cast<int>(left < Rows ? left : Rows);
  rows.thread = thread + place.part * consumers;
  rows.threads = consumers * a.split;
  rows.column0 = place.n * tile_columns(e.gated, Slots);
  rows.bias = bias;
  const auto cluster = cooperative_groups::this_cluster();
  const auto load = [&](int row, int at, auto& values) {
    const float* const from = tile + row * S::pitch + at;
    if (a.split == 1) return load_run(from, values);
    load_run(cluster.map_shared_rank(from, 0), values);
#pragma unroll
    for (int part = 1; part < tf32_sm90_max_split; ++part) {
      if (part < a.split) {
        float more[S::Finish::width];
        load_run(cluster.map_shared_rank(from, static_cast<unsigned>(part)), more);
#pragma unroll
        for (int i = 0; i < S::Finish::width; ++i) values[i] += more[i];
      }
    }
  };
  finish_chunk<float, typename S::Finish>(e, a.loop, rows, load);
}

template <int Rows, int Slots, int BlocksAnSm, bool InOut, int Promote>
__global__ void __launch_bounds__(threads, BlocksAnSm)
    tf32_gemm(const __grid_constant__ Tf32Sm90Args a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using S = Shape<Rows, Slots, BlocksAnSm, InOut>;
  char* shared = shared_memory();
  shared += (1024 - cute::cast_smem_ptr_to_uint(shared) % 1024) % 1024;
  auto& header = *reinterpret_cast<typename S::Header*>(shared);
  char* const stages = shared + S::header_bytes;
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
      header.split[stage].init(warpgroup / 32);
      header.empty[stage].init(consumers / 32);
    }
    header.bad = 0;
    cutlass::arch::fence_barrier_init();
  }
  __syncthreads();
  await_predecessor();
  release_successor();

  float* const tile = reinterpret_cast<float*>(stages);
  if (group == 2) {
    cutlass::arch::warpgroup_reg_dealloc<S::splitter_registers>();
    feed<S, Rows, Slots>(a, place, header, stages, thread);
    meet();
    if (any_bad(a, header.bad)) meet();
    if (a.split > 1) meet();
  } else {
    cutlass::arch::warpgroup_reg_alloc<S::consumer_registers>();
    const int consumer = group * warpgroup + thread;
    const int column0 = place.n * tile_columns(a.epilogue.gated, Slots);
    if (consumer < Slots) {
      header.bias[consumer] = place_bias<Slots>(a.epilogue, column0, consumer);
    }
    if (consumer < Rows && place.part == 0) {
      prefetch_residual(a.epilogue, static_cast<std::int64_t>(place.m) * Rows, column0, Slots,
                        consumer);
    }
    float sums[S::sums];
    multiply<S, Promote>(place, header, stages, group, thread, sums);
    if (!all_finite(sums)) header.bad = 1;
    // Both warpgroups are done with the stages, in whose memory the sums go now.
    cutlass::arch::NamedBarrier::sync(consumers, 1);
    store_sums<S, Slots>(a.epilogue, sums, tile, group, thread);
    meet();
    if (any_bad(a, header.bad)) {
      if (place.part == 0) mend<S, Rows, Slots>(a, place, tile, consumer);
      meet();
    }
    finish<S, Rows, Slots>(a, place, tile, header.bias, consumer);
    // Nobody leaves while others read its sums.
    if (a.split > 1) meet();
  }
#endif
}

}  // namespace tf32_sm90
}  // namespace cuda
}  // namespace detail
}  // namespace postlude
