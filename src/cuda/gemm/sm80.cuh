// The tensor-core GEMM for sm_80 and later: a multi-stage cp.async pipeline around mma.sync
// m16n8k16.
//
// A block of four warps computes Rows rows of x by Slots weight rows (see epilogue.cuh), a warp a
// quarter of it. Pieces of 8 elements of a line are permuted by the line's number, which spreads
// both the copies (see tile_copy.cuh) and the ldmatrix reads over all banks. Every tile size adds
// up k in the same steps of 16 by the same instruction, so that neither the tile nor M shows in a
// row's bits.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <cute/arch/copy_sm75.hpp>
#include <cute/arch/copy_sm80.hpp>
#include <cute/arch/mma_sm80.hpp>
#include <type_traits>

#include "cuda/epilogue/epilogue.cuh"
#include "cuda/gemm/sm80.hpp"
#include "cuda/gemm/tile_copy.cuh"
#include "cuda/launch.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace sm80 {

inline constexpr int threads = 128;
inline constexpr int tile_k = 64;

using Blocks = Blocking<2, threads, tile_k>;

// Lines of an [in, out] weight's tile.
template <int Slots>
using SlotLines = Lines<2 * Slots>;

template <int Slots, bool InOut>
using WeightCopy =
    std::conditional_t<InOut, InOutCopy<Blocks, SlotLines<Slots>>, OutInCopy<Blocks, Slots>>;

template <class T>
using Mma = std::conditional_t<std::is_same_v<T, __half>, cute::SM80_16x8x16_F32F16F16F32_TN,
                               cute::SM80_16x8x16_F32BF16BF16F32_TN>;

// What a tile size implies. Four warps, two by two.
template <int Rows, int Slots>
struct Shape {
  static constexpr int warp_rows = Rows / 2;
  static constexpr int warp_slots = Slots / 2;
  static constexpr int blocks_m = warp_rows / 16;
  static constexpr int blocks_n = warp_slots / 8;
  static constexpr int x_bytes = 2 * Rows * tile_k;
  static constexpr int stage_bytes = x_bytes + 2 * Slots * tile_k;
  static constexpr int stages = 98304 / stage_bytes < 5 ? 98304 / stage_bytes : 5;
  static constexpr int shared_bytes = stages * stage_bytes;
  static constexpr int sums_pitch = warp_slots + 8;  // spreads the stores over all banks
  static constexpr int sums_bytes = 4 * warp_rows * sums_pitch;
  static_assert(4 * sums_bytes <= shared_bytes, "the sums reuse the stages");
  static_assert(warp_slots % 16 == 0 && stages >= 3, "fragments come in pairs");
};

// One warp's accumulators: block (i, j) is 16 rows by 8 slots, laid out by the mma instruction.
template <class S>
using Sums = float[S::blocks_m][S::blocks_n][4];

// The operands of one step of 16 along k.
template <class S, bool InOut>
struct Fragments {
  std::uint32_t x[S::blocks_m][4];
  std::uint32_t weight[S::blocks_n][2];

  __device__ void load(const char* x_tile, const char* weight_tile, int step) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
    for (int i = 0; i < S::blocks_m; ++i) {
      const int row = warp / 2 * S::warp_rows + 16 * i + lane % 16;
      const char* from = x_tile + KLines<Blocks>::offset(row, 2 * step + lane / 16);
      cute::SM75_U32x4_LDSM_N::copy(*reinterpret_cast<const cute::uint128_t*>(from), x[i][0],
                                    x[i][1], x[i][2], x[i][3]);
    }
    // The four 8 by 8 matrices of a load: slots 0-7 with the lower and the upper 8 of k, then slots
    // 8-15 likewise.
    const int in_matrix = lane % 8, upper_k = lane / 8 % 2, upper_slots = lane / 16;
#pragma unroll
    for (int j = 0; j < S::blocks_n; j += 2) {
      const int slot = warp % 2 * S::warp_slots + 8 * j + 8 * upper_slots;
      if constexpr (InOut) {
        const int k = 16 * step + 8 * upper_k + in_matrix;
        const char* from =
            weight_tile + SlotLines<2 * S::warp_slots>::offset(k, slot / Blocks::piece);
        cute::SM75_U16x8_LDSM_T::copy(*reinterpret_cast<const cute::uint128_t*>(from), weight[j][0],
                                      weight[j][1], weight[j + 1][0], weight[j + 1][1]);
      } else {
        const char* from =
            weight_tile + KLines<Blocks>::offset(slot + in_matrix, 2 * step + upper_k);
        cute::SM75_U32x4_LDSM_N::copy(*reinterpret_cast<const cute::uint128_t*>(from), weight[j][0],
                                      weight[j][1], weight[j + 1][0], weight[j + 1][1]);
      }
    }
  }
};

template <class T, class S, bool InOut>
__device__ inline void multiply(const Fragments<S, InOut>& f, Sums<S>& sums) {
#pragma unroll
  for (int i = 0; i < S::blocks_m; ++i) {
#pragma unroll
    for (int j = 0; j < S::blocks_n; ++j) {
      float (&d)[4] = sums[i][j];
      Mma<T>::fma(d[0], d[1], d[2], d[3], f.x[i][0], f.x[i][1], f.x[i][2], f.x[i][3],
                  f.weight[j][0], f.weight[j][1], d[0], d[1], d[2], d[3]);
    }
  }
}

// Puts one warp's accumulators where finish_tile reads them.
template <class S>
__device__ inline void stage_sums(const Sums<S>& sums, float* tile) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int i = 0; i < S::blocks_m; ++i) {
#pragma unroll
    for (int j = 0; j < S::blocks_n; ++j) {
      float* to = tile + (16 * i + lane / 4) * S::sums_pitch + 8 * j + lane % 4 * 2;
      *reinterpret_cast<float2*>(to) = make_float2(sums[i][j][0], sums[i][j][1]);
      *reinterpret_cast<float2*>(to + 8 * S::sums_pitch) =
          make_float2(sums[i][j][2], sums[i][j][3]);
    }
  }
}

template <class T, int Rows, int Slots, bool InOut>
__global__ void __launch_bounds__(threads, 2) sm80_gemm(const __grid_constant__ TiledArgs a) {
  using S = Shape<Rows, Slots>;
  release_successor();
  await_predecessor();
  std::int64_t m0, n0;
  tile_of(blockIdx.x, a, m0, n0);
  m0 *= Rows;
  n0 *= tile_columns(a.epilogue.gated, Slots);
  const XCopy<Blocks, Rows> x_copy(a, m0);
  const WeightCopy<Slots, InOut> weight_copy(a, n0);
  char* const shared = shared_memory();
  const auto fetch = [&](int stage, std::int64_t k0) {
    if (k0 < a.k) {
      x_copy.run(shared + stage * S::stage_bytes, k0);
      weight_copy.run(shared + stage * S::stage_bytes + S::x_bytes, k0);
    }
    cute::cp_async_fence();  // also where there was nothing to copy: the waits below count fences
  };

#pragma unroll 1
  for (int stage = 0; stage < S::stages - 1; ++stage) fetch(stage, stage * tile_k);
  Sums<S> sums = {};
  int stage = 0, free_stage = S::stages - 1;
#pragma unroll 1
  for (std::int64_t k0 = 0; k0 < a.k; k0 += tile_k) {
    cute::cp_async_wait<S::stages - 2>();
    __syncthreads();  // this stage has arrived, and everybody has left the one before
    fetch(free_stage, k0 + (S::stages - 1) * tile_k);
    const char* const x_tile = shared + stage * S::stage_bytes;
    const char* const weight_tile = x_tile + S::x_bytes;
    Fragments<S, InOut> fragments[2];
    fragments[0].load(x_tile, weight_tile, 0);
#pragma unroll
    for (int step = 0; step < tile_k / 16; ++step) {
      if (step + 1 < tile_k / 16) fragments[(step + 1) % 2].load(x_tile, weight_tile, step + 1);
      multiply<T, S>(fragments[step % 2], sums);
    }
    free_stage = stage;
    stage = stage + 1 == S::stages ? 0 : stage + 1;
  }
  cute::cp_async_wait<0>();
  __syncthreads();  // nobody reads the stages any more

  const int warp = static_cast<int>(threadIdx.x) / 32;
  float* const sums_tile = reinterpret_cast<float*>(shared + warp * S::sums_bytes);
  stage_sums<S>(sums, sums_tile);
  __syncwarp();
  finish_tile<S::warp_rows, S::warp_slots, S::sums_pitch, 32>(
      a.epilogue, sums_tile, m0 + warp / 2 * S::warp_rows,
      n0 + tile_columns(a.epilogue.gated, warp % 2 * S::warp_slots),
      static_cast<int>(threadIdx.x) % 32);
}

template <int Rows, int Slots, class Function>
void for_kernel(DType dtype, bool in_out, Function&& function) {
  if (dtype == DType::bf16) {
    function(in_out ? sm80_gemm<__nv_bfloat16, Rows, Slots, true>
                    : sm80_gemm<__nv_bfloat16, Rows, Slots, false>);
  } else {
    function(in_out ? sm80_gemm<__half, Rows, Slots, true> : sm80_gemm<__half, Rows, Slots, false>);
  }
}

}  // namespace sm80

template <int Rows, int Slots>
void Sm80Tile<Rows, Slots>::launch(DType dtype, bool in_out, const TiledArgs& args,
                                   bool programmatic, cudaStream_t stream) {
  LaunchShape shape{grid_of(args.tiles_m * args.tiles_n), sm80::threads, stream,
                    sm80::Shape<Rows, Slots>::shared_bytes};
  shape.programmatic = programmatic;
  sm80::for_kernel<Rows, Slots>(
      dtype, in_out, [&](auto kernel) { cuda::launch("cuda.cutlass_sm80", kernel, shape, args); });
}

template <int Rows, int Slots>
void Sm80Tile<Rows, Slots>::load() {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const bool in_out : {false, true}) {
      sm80::for_kernel<Rows, Slots>(dtype, in_out, [](auto kernel) {
        load_kernel(kernel, sm80::Shape<Rows, Slots>::shared_bytes);
      });
    }
  }
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
