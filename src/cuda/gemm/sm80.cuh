// The tensor-core GEMM for sm_80 and later: a multi-stage cp.async pipeline around mma.sync
// m16n8k16.
//
// A block of four warps computes Rows rows of x by Slots weight rows (see epilogue.cuh), a warp a
// quarter of it. Tiles of x are kept as they lie in memory, k running fastest; tiles of the weight
// likewise, with k or, for an [in, out] weight, the slots running fastest. Pieces of 8 elements (16
// bytes) of a line are permuted by the line's number, which spreads both the copies and the
// ldmatrix reads over all banks. Every tile size adds up k in the same steps of 16 by the same
// instruction, so that neither the tile nor M shows in a row's bits.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <cute/arch/copy_sm75.hpp>
#include <cute/arch/copy_sm80.hpp>
#include <cute/arch/mma_sm80.hpp>
#include <type_traits>

#include "cuda/epilogue/epilogue.cuh"
#include "cuda/gemm/cp_async.cuh"
#include "cuda/gemm/sm80.hpp"
#include "cuda/launch.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace sm80 {

inline constexpr int threads = 128;
inline constexpr int tile_k = 64;
inline constexpr int piece = 8;  // elements that move together
inline constexpr int piece_bytes = 16;
inline constexpr int raster_group = 8;  // row tiles that share the weight tiles they read, in L2

template <class T>
using Mma = std::conditional_t<std::is_same_v<T, __half>, cute::SM80_16x8x16_F32F16F16F32_TN,
                               cute::SM80_16x8x16_F32BF16BF16F32_TN>;

// How many bytes of a piece there are to read where `left` elements remain.
__device__ inline int bytes_left(std::int64_t left) {
  return left >= piece ? piece_bytes : left <= 0 ? 0 : 2 * static_cast<int>(left);
}

// Lines of a tile in shared memory, of Length elements each.
template <int Length>
struct Lines {
  static constexpr int bytes = 2 * Length;
  static constexpr int pieces = Length / piece;
  __device__ static int offset(int line, int index) {
    return line * bytes + (index ^ (line & 7)) * piece_bytes;
  }
};

// How a thread copies its part of a tile of Count lines: of every step-th line, the piece number
// index().
template <int Length, int Count>
struct LineCopy {
  static constexpr int step = threads / Lines<Length>::pieces;
  static constexpr int count = Count / step;
  static_assert(Count % step == 0 && step % 8 == 0, "all lines of a thread are permuted alike");

  __device__ static int line() { return static_cast<int>(threadIdx.x) / Lines<Length>::pieces; }
  __device__ static int index() { return static_cast<int>(threadIdx.x) % Lines<Length>::pieces; }

  // to: the tile; from: the thread's piece of its first line; stride: bytes from one of its lines
  // to the next; lines: how many of its lines exist; bytes: how many of each piece do; vector: all
  // pieces are aligned to 16 bytes.
  __device__ static void run(char* to, const char* from, std::int64_t stride, int lines, int bytes,
                             bool vector) {
    to += Lines<Length>::offset(line(), index());
    if (vector && bytes % piece_bytes == 0) {  // a piece that the end of k cuts goes by elements
#pragma unroll
      for (int i = 0; i < count; ++i) {
        copy_async(to + i * step * Lines<Length>::bytes, from + i * stride, i < lines ? bytes : 0);
      }
    } else {
#pragma unroll 1
      for (int i = 0; i < count; ++i) {
        copy_elements(to + i * step * Lines<Length>::bytes, from + i * stride,
                      i < lines ? bytes : 0);
      }
    }
  }
};

// The number of a thread's lines first, first + step, first + 2 step, ... that are below `end`.
__device__ inline int lines_below(std::int64_t first, int step, std::int64_t end) {
  const std::int64_t left = end - first;
  return left <= 0 ? 0 : left >= 1024 ? 1024 : (static_cast<int>(left) + step - 1) / step;
}

// The part of x that one thread copies of each tile along k.
template <int Rows>
struct XCopy {
  using Copy = LineCopy<tile_k, Rows>;
  const char* from;
  std::int64_t stride;
  std::int64_t left;  // elements of k from the thread's first piece on
  int lines;
  bool vector;

  __device__ XCopy(const Sm80Args& a, std::int64_t m0) {
    const std::int64_t row = m0 + Copy::line();
    from = static_cast<const char*>(a.x) + 2 * (row * a.x_stride + piece * Copy::index());
    stride = 2 * Copy::step * a.x_stride;
    left = a.k - piece * Copy::index();
    lines = lines_below(row, Copy::step, a.epilogue.m);
    vector = a.x_vector;
  }

  __device__ void run(char* to, std::int64_t k0) const {
    Copy::run(to, from + 2 * k0, stride, lines, bytes_left(left - k0), vector);
  }
};

// The same for a weight: [out, in], where a line is a slot, or InOut [in, out].
template <int Slots, bool InOut>
struct WeightCopy;

// Where gated, a thread's lines, 16 slots apart, are 8 rows of one half apart.
template <int Slots>
struct WeightCopy<Slots, false> {
  using Copy = LineCopy<tile_k, Slots>;
  static_assert(Copy::step == 16, "a group of slots");
  const char* from;
  std::int64_t stride;
  std::int64_t left;
  int lines;
  bool vector;

  __device__ WeightCopy(const Sm80Args& a, std::int64_t n0) {
    const Slot slot = slot_of(a.epilogue, n0, Copy::line());
    const int step = tile_columns(a.epilogue.gated, Copy::step);
    from = static_cast<const char*>(a.weight) +
           2 * (slot.weight_row * a.weight_stride + piece * Copy::index());
    stride = 2 * step * a.weight_stride;
    left = a.k - piece * Copy::index();
    lines = lines_below(slot.column, step, a.epilogue.n);
    vector = a.weight_vector;
  }

  __device__ void run(char* to, std::int64_t k0) const {
    Copy::run(to, from + 2 * k0, stride, lines, bytes_left(left - k0), vector);
  }
};

// A line is a k, and a piece 8 slots of one half.
template <int Slots>
struct WeightCopy<Slots, true> {
  using Copy = LineCopy<Slots, tile_k>;
  const char* from;
  std::int64_t pitch;
  std::int64_t k;
  int bytes;
  bool vector;

  __device__ WeightCopy(const Sm80Args& a, std::int64_t n0) {
    const Slot slot = slot_of(a.epilogue, n0, piece * Copy::index());
    from =
        static_cast<const char*>(a.weight) + 2 * (slot.weight_row + Copy::line() * a.weight_stride);
    pitch = 2 * a.weight_stride;
    k = a.k;
    bytes = bytes_left(a.epilogue.n - slot.column);
    vector = a.weight_vector;
  }

  __device__ void run(char* to, std::int64_t k0) const {
    Copy::run(to, from + k0 * pitch, Copy::step * pitch,
              lines_below(k0 + Copy::line(), Copy::step, k), bytes, vector);
  }
};

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
      const char* from = x_tile + Lines<tile_k>::offset(row, 2 * step + lane / 16);
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
        const char* from = weight_tile + Lines<2 * S::warp_slots>::offset(k, slot / piece);
        cute::SM75_U16x8_LDSM_T::copy(*reinterpret_cast<const cute::uint128_t*>(from), weight[j][0],
                                      weight[j][1], weight[j + 1][0], weight[j + 1][1]);
      } else {
        const char* from =
            weight_tile + Lines<tile_k>::offset(slot + in_matrix, 2 * step + upper_k);
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

// Block number -> tile: down groups of rows first, so that blocks that run together share weight
// tiles in L2.
__device__ inline void tile_of(std::int64_t block, const Sm80Args& a, std::int64_t& tile_m,
                               std::int64_t& tile_n) {
  const std::int64_t a_group = raster_group * a.tiles_n;
  const std::int64_t first = block / a_group * raster_group;
  const std::int64_t rows = a.tiles_m - first < raster_group ? a.tiles_m - first : raster_group;
  tile_m = first + block % a_group % rows;
  tile_n = block % a_group / rows;
}

template <class T, int Rows, int Slots, bool InOut>
__global__ void __launch_bounds__(threads, 2) sm80_gemm(const __grid_constant__ Sm80Args a) {
  using S = Shape<Rows, Slots>;
  std::int64_t m0, n0;
  tile_of(blockIdx.x, a, m0, n0);
  m0 *= Rows;
  n0 *= tile_columns(a.epilogue.gated, Slots);
  const XCopy<Rows> x_copy(a, m0);
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
void Sm80Tile<Rows, Slots>::launch(DType dtype, bool in_out, const Sm80Args& args,
                                   cudaStream_t stream) {
  const LaunchShape shape{grid_of(args.tiles_m * args.tiles_n), sm80::threads, stream,
                          sm80::Shape<Rows, Slots>::shared_bytes};
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
