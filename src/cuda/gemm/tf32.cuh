// The tensor-core GEMM for fp32 on sm_80 and later: three TF32 products for each fp32 one, or one
// where the caller allows it, in a multi-stage cp.async pipeline around mma.sync m16n8k8.
//
// TF32 has fp32's exponents and 11 bits of its 24. So x = hi + lo, each a TF32 number, and likewise
// the weight w:
//
//     x * w = lo(x) * hi(w) + hi(x) * lo(w) + hi(x) * hi(w)
//
// but for lo(x) * lo(w) and what lo rounds away, which is at most 2^-22 of the product each and of
// random sign, as hi is rounded to the nearest. The tensor cores truncate when they add, which
// drifts over a long sum. So they add up one tile along k (32) only, the small terms first;
// ordinary additions put these partial sums together. Every tile size does this at the same places
// and with the same instructions, so that neither the tile nor M shows in a row's bits. Numbers
// below 2^-137 count as zero, and those below 2^-113 may be off by 2^-136.
//
// Infinities and numbers next to the largest do not survive the split: (infinity - infinity) is
// NaN, and hi may round up to infinity. Both leave a sum that is not finite. Where a block ends up
// with one, it computes its tile again with a split that minds them and gives all other numbers the
// same bits.
//
// One product is hi(x) * hi(w), the operands rounded to the nearest; all else is the same.
//
// A warp computes Rows / 2 rows of x by 32 slots (see epilogue.cuh).
#pragma once

#include <cstdint>
#include <cute/arch/copy_sm75.hpp>
#include <cute/arch/copy_sm80.hpp>
#include <cute/arch/mma_sm80.hpp>
#include <type_traits>

#include "cuda/convert.cuh"
#include "cuda/epilogue/epilogue.cuh"
#include "cuda/gemm/tf32.hpp"
#include "cuda/gemm/tile_copy.cuh"
#include "cuda/launch.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace tf32 {

inline constexpr int tile_k = 32;
inline constexpr int step_k = 8;
inline constexpr int steps = tile_k / step_k;
inline constexpr int warp_slots = 32;
inline constexpr int blocks_n = warp_slots / 8;

using Mma = cute::SM80_16x8x8_F32TF32TF32F32_TN;

// What a tile size implies. Two warps along the rows; more slots take more warps.
template <int Rows, int Slots>
struct Shape {
  static constexpr int warps_n = Slots / warp_slots;
  static constexpr int warps = 2 * warps_n;
  static constexpr int threads = 32 * warps;
  static constexpr int warp_rows = Rows / 2;
  static constexpr int blocks_m = warp_rows / 16;
  static constexpr int x_bytes = 4 * Rows * tile_k;
  static constexpr int stage_bytes = x_bytes + 4 * Slots * tile_k;
  static constexpr int stages = 73728 / stage_bytes > 3 ? 73728 / stage_bytes : 3;
  static constexpr int shared_bytes = stages * stage_bytes;
  static constexpr int blocks_an_sm = Rows == 128 ? 256 / threads : 3;
  static constexpr int sums_pitch = warp_slots + 4;  // spreads the loads over all banks
  static constexpr int sums_bytes = 4 * warp_rows * sums_pitch;
  static_assert(warps * sums_bytes <= shared_bytes, "the sums reuse the stages");
  static_assert(warp_rows % 16 == 0 && Slots % warp_slots == 0 && shared_bytes <= 98304,
                "whole blocks, and what every GPU since sm_80 has");
};

template <class S>
using Blocks = Blocking<4, S::threads, tile_k>;

// Lines of an [in, out] weight's tile. 4 lines, each permuted by twice its number, hold pieces that
// the 8 threads of a quarter of a warp read at once in different banks.
template <int Slots>
using SlotLines = Lines<4 * Slots, 4, 2>;

template <class S, int Slots, bool InOut>
using WeightCopy =
    std::conditional_t<InOut, InOutCopy<Blocks<S>, SlotLines<Slots>>, OutInCopy<Blocks<S>, Slots>>;

// One warp's accumulators: block (i, j) is 16 rows by 8 slots, laid out by the mma instruction.
// These are slots 8 j to 8 j + 7 of the warp, or where the weight is [in, out] every fourth from j
// on.
template <class S>
using Sums = float[S::blocks_m][blocks_n][4];

// The operands of one step along k.
template <class S>
struct Fragments {
  std::uint32_t x[S::blocks_m][4];
  std::uint32_t weight[blocks_n][2];

  // x_tile, weight_tile: where the tiles begin in shared memory, multiples of 128 bytes.
  template <bool InOut, int Slots>
  __device__ void load(int x_tile, int weight_tile, int step) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int warp = static_cast<int>(threadIdx.x) / 32;
    // The matrices of a load have 8 rows and 4 of k: the lower and the upper 8 rows, then these
    // with the upper 4 of k. 8 lines further everything is permuted alike; a step is two pieces, an
    // even number, so that it can be added to the permuted piece as it is to the piece: by xor.
    using L = KLines<Blocks<S>>;
    const int step_bytes = 2 * piece_bytes * step;
    const int row = warp / S::warps_n * S::warp_rows + lane % 16;
    const char* const rows = shared_memory() + ((x_tile + L::offset(row, lane / 16)) ^ step_bytes);
#pragma unroll
    for (int i = 0; i < S::blocks_m; ++i) {
      const char* from = rows + 16 * i * L::bytes;
      cute::SM75_U32x4_LDSM_N::copy(*reinterpret_cast<const cute::uint128_t*>(from), x[i][0],
                                    x[i][1], x[i][2], x[i][3]);
    }
    const int first_slot = warp % S::warps_n * warp_slots;
    if constexpr (InOut) {
      // A thread has column lane / 4 of each block: 4 slots that lie side by side.
      using W = SlotLines<Slots>;
      const char* const from =
          shared_memory() + weight_tile + W::offset(lane % 4, first_slot / 4 + lane / 4);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const uint4 four =
            *reinterpret_cast<const uint4*>(from + (step_k * step + 4 * half) * W::bytes);
        weight[0][half] = four.x;
        weight[1][half] = four.y;
        weight[2][half] = four.z;
        weight[3][half] = four.w;
      }
    } else {
      // Slots 0-7 with the lower and the upper 4 of k, then slots 8-15 likewise.
      const int slot = first_slot + lane / 16 * 8 + lane % 8;
      const char* const slots =
          shared_memory() + ((weight_tile + L::offset(slot, lane / 8 % 2)) ^ step_bytes);
#pragma unroll
      for (int j = 0; j < blocks_n; j += 2) {
        const char* from = slots + 8 * j * L::bytes;
        cute::SM75_U32x4_LDSM_N::copy(*reinterpret_cast<const cute::uint128_t*>(from), weight[j][0],
                                      weight[j][1], weight[j + 1][0], weight[j + 1][1]);
      }
    }
  }
};

// The bits that TF32 keeps.
inline constexpr std::uint32_t kept = 0xffffe000u;

// Rounded to the nearest TF32 number, ties away from zero.
__device__ inline std::uint32_t rounded(std::uint32_t x) { return (x + 0x1000u) & kept; }

// What is left of x. The mma instruction truncates it.
__device__ inline std::uint32_t rest(std::uint32_t x, std::uint32_t high) {
  return __float_as_uint(__uint_as_float(x) - __uint_as_float(high));
}

// The operands x and weight that the functions make of f's.
template <class S, class OfX, class OfWeight>
__device__ inline Fragments<S> map(const Fragments<S>& f, OfX&& of_x, OfWeight&& of_weight) {
  Fragments<S> result;
#pragma unroll
  for (int i = 0; i < S::blocks_m; ++i) {
#pragma unroll
    for (int e = 0; e < 4; ++e) result.x[i][e] = of_x(f.x[i][e]);
  }
#pragma unroll
  for (int j = 0; j < blocks_n; ++j) {
#pragma unroll
    for (int e = 0; e < 2; ++e) result.weight[j][e] = of_weight(f.weight[j][e]);
  }
  return result;
}

template <class S>
__device__ inline void clear(Sums<S>& sums) {
#pragma unroll
  for (int i = 0; i < S::blocks_m; ++i) {
#pragma unroll
    for (int j = 0; j < blocks_n; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[i][j][e] = 0.0f;
    }
  }
}

template <class S>
__device__ inline void add(const Sums<S>& partial, Sums<S>& total) {
#pragma unroll
  for (int i = 0; i < S::blocks_m; ++i) {
#pragma unroll
    for (int j = 0; j < blocks_n; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) total[i][j][e] += partial[i][j][e];
    }
  }
}

// sums += x * weight, block by block.
template <class S>
__device__ inline void add_products(const Fragments<S>& x, const Fragments<S>& weight,
                                    Sums<S>& sums) {
#pragma unroll
  for (int i = 0; i < S::blocks_m; ++i) {
#pragma unroll
    for (int j = 0; j < blocks_n; ++j) {
      float (&d)[4] = sums[i][j];
      const std::uint32_t (&a)[4] = x.x[i];
      const std::uint32_t (&b)[2] = weight.weight[j];
      Mma::fma(d[0], d[1], d[2], d[3], a[0], a[1], a[2], a[3], b[0], b[1], d[0], d[1], d[2], d[3]);
    }
  }
}

// Adds one step's products to `partial`, or begins it with them where the step is a tile's first.
// Calls `fetch_next` where the fewest registers are in use and there is still work to hide it
// behind.
template <class S, class Function>
__device__ inline void multiply(const Fragments<S>& f, bool first, Sums<S>& partial,
                                Function&& fetch_next) {
  const auto of_high = [](std::uint32_t x) { return rounded(x); };
  const auto of_low = [](std::uint32_t x) { return rest(x, rounded(x)); };
  const Fragments<S> high = map(f, of_high, of_high);
  const Fragments<S> low = map(f, of_low, of_low);
  if (first) clear<S>(partial);
  add_products<S>(low, high, partial);
  fetch_next();
  add_products<S>(high, low, partial);
  add_products<S>(high, high, partial);
}

// The same with one product.
template <class S, class Function>
__device__ inline void multiply_once(const Fragments<S>& f, bool first, Sums<S>& partial,
                                     Function&& fetch_next) {
  const auto of_high = [](std::uint32_t x) { return nearest_tf32(x); };
  const Fragments<S> high = map(f, of_high, of_high);
  if (first) clear<S>(partial);
  fetch_next();
  add_products<S>(high, high, partial);
}

// The split for all numbers. Those next to the largest are truncated; infinities and NaN are all
// high, and meet only the other operand's high part, as in fp32: to the low part they are 0.
enum class Part : std::uint8_t { low, to_low, high };

__device__ inline std::uint32_t careful_part(std::uint32_t x, Part part) {
  constexpr std::uint32_t infinity = 0x7f800000u, not_a_number = 0x7fc00000u;
  const auto magnitude = [](std::uint32_t v) { return v & 0x7fffffffu; };
  if (magnitude(x) >= infinity) {
    if (part != Part::high) return 0;
    return magnitude(x) == infinity ? x : not_a_number;  // TF32 may lack the bits that make it NaN
  }
  const std::uint32_t high = magnitude(rounded(x)) < infinity ? rounded(x) : x & kept;
  return part == Part::low ? rest(x, high) : high;
}

// One of the three products that multiply adds.
template <class S>
__device__ inline void multiply_carefully(const Fragments<S>& f, int term, Sums<S>& partial) {
  const Part of_x = term == 0 ? Part::low : term == 1 ? Part::to_low : Part::high;
  const Part of_weight = term == 0 ? Part::to_low : term == 1 ? Part::low : Part::high;
  const Fragments<S> parts = map(
      f, [&](std::uint32_t x) { return careful_part(x, of_x); },
      [&](std::uint32_t x) { return careful_part(x, of_weight); });
  add_products<S>(parts, parts, partial);
}

// Where a tile begins in out.
struct Corner {
  std::int64_t row;
  std::int64_t column;
};

// How a block gets at its tile's operands.
template <int Rows, int Slots, bool InOut>
struct Operands {
  using S = Shape<Rows, Slots>;
  XCopy<Blocks<S>, Rows> x;
  WeightCopy<S, Slots, InOut> weight;
  std::int64_t k;

  __device__ Operands(const TiledArgs& a, const Corner& corner)
      : x(a, corner.row), weight(a, corner.column), k(a.k) {}

  __device__ static int stage(int number) { return number * S::stage_bytes; }

  // One group of copies, also where there is nothing to copy: those who wait count groups.
  __device__ void fetch(int number, std::int64_t k0) const {
    if (k0 < k) {
      x.run(shared_memory() + stage(number), k0);
      weight.run(shared_memory() + stage(number) + S::x_bytes, k0);
    }
    cute::cp_async_fence();
  }

  __device__ static void load(int number, int step, Fragments<S>& fragments) {
    fragments.template load<InOut, Slots>(stage(number), stage(number) + S::x_bytes, step);
  }
};

// The sums of a tile. Begins and ends with all stages free.
template <bool OneProduct, int Rows, int Slots, bool InOut>
__device__ __forceinline__ void add_up(const Operands<Rows, Slots, InOut>& operands,
                                       Sums<Shape<Rows, Slots>>& total) {
  using S = Shape<Rows, Slots>;
#pragma unroll 1
  for (int stage = 0; stage < S::stages; ++stage) operands.fetch(stage, stage * tile_k);
  cute::cp_async_wait<S::stages - 1>();
  __syncthreads();
  Sums<S> partial;
  clear<S>(total);
  int stage = 0;
  Fragments<S> fragments[2];
  operands.load(0, 0, fragments[0]);
#pragma unroll 1
  for (std::int64_t k0 = 0; k0 < operands.k; k0 += tile_k) {
    const int next = stage + 1 == S::stages ? 0 : stage + 1;
#pragma unroll
    for (int step = 0; step < steps; ++step) {
      const auto fetch_next = [&] {
        if (step + 1 < steps) {
          operands.load(stage, step + 1, fragments[(step + 1) % 2]);
        } else {
          // The next tile has arrived, and everybody has read all of this one. After the last,
          // what is loaded is not used.
          cute::cp_async_wait<S::stages - 2>();
          __syncthreads();
          operands.load(next, 0, fragments[0]);
        }
      };
      if constexpr (OneProduct) {
        multiply_once<S>(fragments[step % 2], step == 0, partial, fetch_next);
      } else {
        multiply<S>(fragments[step % 2], step == 0, partial, fetch_next);
      }
    }
    add<S>(partial, total);
    operands.fetch(stage, k0 + S::stages * tile_k);
    stage = next;
  }
  cute::cp_async_wait<0>();
  __syncthreads();
}

// The same for all numbers, one tile after the other. Registers matter here, and time does not.
template <int Rows, int Slots, bool InOut>
__device__ __forceinline__ void add_up_carefully(const TiledArgs& a, const Corner& corner,
                                                 Sums<Shape<Rows, Slots>>& total) {
  using S = Shape<Rows, Slots>;
  clear<S>(total);
#pragma unroll 1
  for (std::int64_t k0 = 0; k0 < a.k; k0 += tile_k) {
    const Operands<Rows, Slots, InOut> operands(a, corner);  // not kept from tile to tile
    operands.fetch(0, k0);
    cute::cp_async_wait<0>();
    __syncthreads();
    Sums<S> partial;
    clear<S>(partial);
#pragma unroll 1
    for (int i = 0; i < 3 * steps; ++i) {
      if (a.one_product && i % 3 != 2) continue;
      Fragments<S> fragments;
      __syncwarp();  // loads and what follows from them are not to be taken out of the loop
      operands.load(0, i / 3, fragments);
      multiply_carefully<S>(fragments, i % 3, partial);
    }
    add<S>(partial, total);
    __syncthreads();
  }
}

template <class S>
__device__ inline bool all_finite(const Sums<S>& sums) {
  float zero = 0.0f;  // NaN once an infinity or a NaN is multiplied by 0
#pragma unroll
  for (int i = 0; i < S::blocks_m; ++i) {
#pragma unroll
    for (int j = 0; j < blocks_n; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) zero = fmaf(sums[i][j][e], 0.0f, zero);
    }
  }
  return zero == 0.0f;
}

// Puts one warp's accumulators where finish_tile reads them.
template <class S, bool InOut>
__device__ inline void stage_sums(const Sums<S>& sums, float* tile) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int i = 0; i < S::blocks_m; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {  // the lower and the upper 8 rows
      float* const row = tile + (16 * i + 8 * half + lane / 4) * S::sums_pitch;
      if constexpr (InOut) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          *reinterpret_cast<float4*>(row + lane % 4 * 8 + 4 * e) =
              make_float4(sums[i][0][2 * half + e], sums[i][1][2 * half + e],
                          sums[i][2][2 * half + e], sums[i][3][2 * half + e]);
        }
      } else {
#pragma unroll
        for (int j = 0; j < blocks_n; ++j) {
          *reinterpret_cast<float2*>(row + 8 * j + lane % 4 * 2) =
              make_float2(sums[i][j][2 * half], sums[i][j][2 * half + 1]);
        }
      }
    }
  }
}

template <int Rows, int Slots, bool InOut>
__global__ void __launch_bounds__((Shape<Rows, Slots>::threads), (Shape<Rows, Slots>::blocks_an_sm))
    tf32_gemm(const __grid_constant__ TiledArgs a) {
  using S = Shape<Rows, Slots>;
  release_successor();
  await_predecessor();
  // In shared memory, as all registers are in use until the sums are there.
  __shared__ Corner corner;
  if (threadIdx.x == 0) {
    tile_of(blockIdx.x, a, corner.row, corner.column);
    corner.row *= Rows;
    corner.column *= tile_columns(a.epilogue.gated, Slots);
  }
  __syncthreads();
  Sums<S> sums;
  if (a.one_product) {
    add_up<true>(Operands<Rows, Slots, InOut>(a, corner), sums);
  } else {
    add_up<false>(Operands<Rows, Slots, InOut>(a, corner), sums);
  }
  if (__syncthreads_or(!all_finite<S>(sums))) add_up_carefully<Rows, Slots, InOut>(a, corner, sums);

  const int warp = static_cast<int>(threadIdx.x) / 32;
  float* const sums_tile = reinterpret_cast<float*>(shared_memory() + warp * S::sums_bytes);
  stage_sums<S, InOut>(sums, sums_tile);
  __syncwarp();
  finish_tile<S::warp_rows, warp_slots, S::sums_pitch, 32>(
      a.epilogue, sums_tile, corner.row + warp / S::warps_n * S::warp_rows,
      corner.column + tile_columns(a.epilogue.gated, warp % S::warps_n * warp_slots),
      static_cast<int>(threadIdx.x) % 32);
}

template <int Rows, int Slots>
constexpr auto kernel_for(bool in_out) {
  return in_out ? tf32_gemm<Rows, Slots, true> : tf32_gemm<Rows, Slots, false>;
}

}  // namespace tf32

template <int Rows, int Slots>
void Tf32Tile<Rows, Slots>::launch(bool in_out, const TiledArgs& args, bool programmatic,
                                   cudaStream_t stream) {
  using S = tf32::Shape<Rows, Slots>;
  LaunchShape shape{grid_of(args.tiles_m * args.tiles_n), S::threads, stream, S::shared_bytes};
  shape.programmatic = programmatic;
  cuda::launch("cuda.cutlass_tf32x3", tf32::kernel_for<Rows, Slots>(in_out), shape, args);
}

template <int Rows, int Slots>
void Tf32Tile<Rows, Slots>::load() {
  for (const bool in_out : {false, true}) {
    load_kernel(tf32::kernel_for<Rows, Slots>(in_out), tf32::Shape<Rows, Slots>::shared_bytes);
  }
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
