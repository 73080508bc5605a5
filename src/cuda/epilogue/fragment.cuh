// The epilogue on wgmma's accumulators in registers, for outputs of x's 2-byte dtype with rows
// aligned to 16 bytes.
//
// A warpgroup finishes a tile of 128 rows in slices of 32 slots (see epilogue.cuh): the terms and
// the activation on registers, where a thread holds neighbouring columns and, where gated, a gate
// beside its up; then through shared memory to whole 16-byte stores. The residual comes the same
// way back, one slice ahead.
#pragma once

#include <cutlass/arch/barrier.h>

#include <cstdint>
#include <cute/tensor.hpp>

#include "cuda/epilogue/epilogue.cuh"

namespace postlude {
namespace detail {
namespace cuda {

// What the columns of a tile bring along, by slot, in shared memory.
template <int Slots>
struct ColumnTerms {
  float bias[Slots];
  float scale[Slots];
  float sum[Slots];
};

inline constexpr int fragment_rows = 128;
inline constexpr int fragment_threads = 128;
inline constexpr int fragment_slots = 32;
inline constexpr int fragment_pitch =
    80;  // bytes between rows in shared memory: spreads them over the banks

// Two slices in shared memory, used in turns.
struct FragmentStage {
  alignas(16) char bytes[2][fragment_rows * fragment_pitch];
};

template <int Slots>
__device__ inline void load_column_terms(const EpilogueArgs& e, std::int64_t column0, int thread,
                                         ColumnTerms<Slots>& terms) {
  for (int s = thread; s < Slots; s += fragment_threads) {
    const Slot slot = slot_of(e, column0, s);
    const bool valid = slot.column < e.n;
    terms.bias[s] = valid && e.bias.present() ? e.bias.at(slot.weight_row) : 0.0f;
    if (e.col_scale.present()) terms.scale[s] = valid ? e.col_scale.at(slot.weight_row) : 0.0f;
    if (e.col_sum.present()) terms.sum[s] = valid ? e.col_sum.at(slot.weight_row) : 0.0f;
  }
}

// Pairs of T in 4 bytes.
template <class T>
struct Pair;
template <>
struct Pair<__nv_bfloat16> {
  __device__ static std::uint32_t pack(float a, float b) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
    return reinterpret_cast<const std::uint32_t&>(pair);
  }
  __device__ static float2 unpack(std::uint32_t bits) {
    return __bfloat1622float2(reinterpret_cast<const __nv_bfloat162&>(bits));
  }
};
template <>
struct Pair<__half> {
  __device__ static std::uint32_t pack(float a, float b) {
    const __half2 pair = __floats2half2_rn(a, b);
    return reinterpret_cast<const std::uint32_t&>(pair);
  }
  __device__ static float2 unpack(std::uint32_t bits) {
    return __half22float2(reinterpret_cast<const __half2&>(bits));
  }
};

// One thread's view of a tile: rows row0.., output columns from column0 on. T is the dtype of out
// and residual.
template <class T, int Slots>
struct FragmentEpilogue {
  static constexpr int max_pieces = 4;  // 16-byte pieces of a slice that a thread moves

  const EpilogueArgs& e;
  const ColumnTerms<Slots>& terms;
  FragmentStage& stage;
  std::int64_t row0;
  std::int64_t column0;
  int thread;
  int barrier;
  uint4 residual[max_pieces];

  __device__ int width() const {
    return e.gated ? fragment_slots / 2 : fragment_slots;
  }  // output columns a slice
  __device__ int pieces_a_row() const { return width() / run_width; }
  __device__ int pieces() const { return fragment_rows * pieces_a_row() / fragment_threads; }
  __device__ void sync() const { cutlass::arch::NamedBarrier::sync(fragment_threads, barrier); }

  // The place of piece p of this thread.
  struct Piece {
    int row;
    int index;
  };
  __device__ Piece piece(int p) const {
    const int i = p * fragment_threads + thread;
    return {i / pieces_a_row(), i % pieces_a_row()};
  }

  // Starts the loads of a slice's residual.
  __device__ void prefetch(int slice) {
    if (!e.residual.present() || slice >= Slots / fragment_slots) return;
#pragma unroll
    for (int p = 0; p < max_pieces; ++p) {
      if (p >= pieces()) continue;
      const Piece at = piece(p);
      const std::int64_t row = row0 + at.row;
      const std::int64_t column = column0 + slice * width() + at.index * run_width;
      const std::int64_t left = e.n - column;
      Run<T, run_width> run;
      run.load(static_cast<const T*>(e.residual.data) + row * e.residual.stride + column,
               row < e.m && left > 0 ? (left < run_width ? static_cast<int>(left) : run_width) : 0,
               true);
      residual[p] = *reinterpret_cast<const uint4*>(run.value);
    }
  }

  // Rows that this thread's accumulators belong to: number i of 4, 64 * (i / 2) + 8 * (i % 2) +
  // row_in_tile().
  __device__ int row_in_tile() const { return thread / 32 * 16 + thread % 32 / 4; }
  __device__ int row_of(int i) const { return i / 2 * 64 + i % 2 * 8 + row_in_tile(); }

  // A term of the row, read when it is wanted: few calls have one.
  __device__ float row_term(const ScaleArg& term, int i) const {
    const std::int64_t row = row0 + row_of(i);
    return row < e.m ? term.at(row) : 0.0f;
  }

  // z of the formula, in place. z[(i * 4 + block) * 2 + j]: row i, slot block * 8 + thread % 4 * 2
  // + j of the slice.
  __device__ void linear_terms(int slice, float (&z)[fragment_slots]) const {
    const int first = slice * fragment_slots + thread % 4 * 2;
    const bool has_mean = e.row_mean.present() && e.col_sum.present();
#pragma unroll
    for (int block = 0; block < 4; ++block) {
      const float2 bias = *reinterpret_cast<const float2*>(&terms.bias[first + block * 8]);
      const auto each = [&](auto&& change) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          change(z[(i * 4 + block) * 2], i, 0);
          change(z[(i * 4 + block) * 2 + 1], i, 1);
        }
      };
      if (has_mean) {
        const float2 sum = *reinterpret_cast<const float2*>(&terms.sum[first + block * 8]);
        each([&](float& v, int i, int j) {
          v = fmaf(-row_term(e.row_mean, i), j == 0 ? sum.x : sum.y, v);
        });
      }
      if (e.row_scale.present()) {
        each([&](float& v, int i, int) { v *= row_term(e.row_scale, i); });
      }
      if (e.col_scale.present()) {
        const float2 scale = *reinterpret_cast<const float2*>(&terms.scale[first + block * 8]);
        each([&](float& v, int, int j) { v *= j == 0 ? scale.x : scale.y; });
      }
      each([&](float& v, int, int j) { v += j == 0 ? bias.x : bias.y; });
    }
  }

  // h of a gated slice: 4 rows by 2 blocks of 8 columns.
  __device__ void gate(const float (&z)[fragment_slots], float (&h)[fragment_slots / 2]) const {
    float up[fragment_slots / 2];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int block = 0; block < 2; ++block) {
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const float first = z[(i * 4 + block * 2) * 2 + j];
          const float second = z[(i * 4 + block * 2 + 1) * 2 + j];
          h[(i * 2 + block) * 2 + j] = e.up_first ? second : first;
          up[(i * 2 + block) * 2 + j] = e.up_first ? first : second;
        }
      }
    }
    if (e.clamp > 0.0f) {
#pragma unroll
      for (int i = 0; i < fragment_slots / 2; ++i) {
        h[i] = at_most(h[i], e.clamp);
        up[i] = at_most(at_least(up[i], -e.clamp), e.clamp);
      }
    }
    activate(e.activation, h);
#pragma unroll
    for (int i = 0; i < fragment_slots / 2; ++i) h[i] *= up[i];
  }

  // Adds the residual that lies in the stage, rounds, and puts the result in its place.
  template <int Blocks>
  __device__ void to_stage(const float (&h)[Blocks * 8], char* to) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int block = 0; block < Blocks; ++block) {
        auto* place = reinterpret_cast<std::uint32_t*>(to + row_of(i) * fragment_pitch +
                                                       block * 16 + thread % 4 * 4);
        float2 value{e.alpha * h[(i * Blocks + block) * 2],
                     e.alpha * h[(i * Blocks + block) * 2 + 1]};
        if (e.residual.present()) {
          const float2 add = Pair<T>::unpack(*place);
          value.x = add.x + value.x;
          value.y = add.y + value.y;
        }
        *place = Pair<T>::pack(value.x, value.y);
      }
    }
  }

  __device__ void store(int slice, const char* from) const {
#pragma unroll
    for (int p = 0; p < max_pieces; ++p) {
      if (p >= pieces()) continue;
      const Piece at = piece(p);
      const std::int64_t row = row0 + at.row;
      const std::int64_t column = column0 + slice * width() + at.index * run_width;
      const std::int64_t left = e.n - column;
      if (row >= e.m || left <= 0) continue;
      Run<T, run_width> run;
      *reinterpret_cast<uint4*>(run.value) =
          *reinterpret_cast<const uint4*>(from + at.row * fragment_pitch + at.index * 16);
      run.store(static_cast<T*>(e.out.data) + row * e.out.stride + column,
                left < run_width ? static_cast<int>(left) : run_width, true);
    }
  }

  __device__ void finish_slice(int slice, float (&z)[fragment_slots]) {
    char* buffer = stage.bytes[slice % 2];
    if (e.residual.present()) {
#pragma unroll
      for (int p = 0; p < max_pieces; ++p) {
        if (p >= pieces()) continue;
        const Piece at = piece(p);
        *reinterpret_cast<uint4*>(buffer + at.row * fragment_pitch + at.index * 16) = residual[p];
      }
      sync();
      prefetch(slice + 1);
    }
    linear_terms(slice, z);
    if (e.gated) {
      float h[fragment_slots / 2];
      gate(z, h);
      to_stage<2>(h, buffer);
    } else {
      activate(e.activation, z);
      to_stage<4>(z, buffer);
    }
    sync();
    store(slice, buffer);
  }
};

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
