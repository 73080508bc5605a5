// finish_chunk: the epilogue over the accumulators of a few dozen slots, as short straight loops.
//
// The code is short and straight on purpose. Fetching the instructions of an epilogue unrolled over
// a tile's registers, or jumping over those of the options that a call does not use, takes longer
// than running it. So the usual epilogues have loops of their own, chosen once a chunk, and
// everything else goes through one general loop.
#pragma once

#include "cuda/epilogue/epilogue.cuh"

namespace postlude {
namespace detail {
namespace cuda {

// The loops. All take bias and alpha.
enum class EpilogueLoop : std::uint8_t {
  general,
  activation,  // any activation, gated or not
  residual,    // no activation
  scaled,      // row_scale, and row_mean with col_sum; no activation
};

// The fastest loop for out and residual of the dtype of x.
inline EpilogueLoop epilogue_loop(const EpilogueArgs& e, DType dtype) {
  const bool plain = e.activation == Activation::none && !e.gated;
  if (e.out.dtype != dtype || !e.out.vector || e.n % run_width != 0 || e.clamp > 0.0f ||
      e.col_scale.data != nullptr) {
    return EpilogueLoop::general;
  }
  if (e.row_scale.data != nullptr || e.row_mean.data != nullptr) {
    const bool fits = plain && e.residual.data == nullptr && e.row_scale.data != nullptr &&
                      (e.row_mean.data == nullptr) == (e.col_sum.data == nullptr) &&
                      !e.col_sum.scalar;
    return fits ? EpilogueLoop::scaled : EpilogueLoop::general;
  }
  if (e.residual.data == nullptr) return EpilogueLoop::activation;
  return plain && e.residual.dtype == dtype && e.residual.vector ? EpilogueLoop::residual
                                                                 : EpilogueLoop::general;
}

// A chunk's sums lie in shared memory by place: slots in their order, or where gated the gate's
// slots and then those of the up half.

// The place of the slots of 8-slot block `block` of a chunk of Slots.
template <int Slots>
__device__ __forceinline__ int block_place(const EpilogueArgs& e, int block) {
  if (!e.gated) return block * 8;
  return block / 2 * 8 + ((block % 2 == 0) != e.up_first ? 0 : Slots / 2);
}

// bias + shift of a place of the chunk of Slots that begins at output column column0; 0 past the
// end.
template <int Slots>
__device__ inline float place_bias(const EpilogueArgs& e, int column0, int place) {
  const bool up = e.gated && place >= Slots / 2;
  const std::int64_t column = column0 + (up ? place - Slots / 2 : place);
  if (column >= e.n) return 0.0f;
  const std::int64_t weight_row = column + (up ? e.up_row : e.gate_row);
  float bias = e.shift.present() ? e.shift.at(weight_row) : 0.0f;
  if (e.bias.present()) {
    with_type(e.bias.dtype, [&](auto type) {
      bias += to_float(static_cast<const decltype(type)*>(e.bias.data)[weight_row]);
    });
  }
  return bias;
}

// The rows of one chunk and the threads that share them. Every thread keeps to one run of columns.
struct Chunk {
  int row0 = 0;     // of out
  int column0 = 0;  // of out
  int rows = 0;     // those that exist
  int thread = 0;
  int threads = 0;
  // In shared memory: bias and shift of the chunk's places; for the loop `scaled` row_scale and
  // row_mean of its rows.
  const float* bias = nullptr;
  const float* row_scale = nullptr;
  const float* row_mean = nullptr;
};

// A thread's run of columns in a chunk of `Slots` slots.
template <int Slots, int Width, bool Gated>
struct ChunkRun {
  static constexpr int columns = Gated ? Slots / 2 : Slots;
  static constexpr int runs = columns / Width;
  int row;     // the thread's first
  int step;    // to its next
  int column;  // of out
  int place;   // up's is `columns` further

  __device__ ChunkRun(const Chunk& c) {
    place = c.thread % runs * Width;
    step = c.threads / runs;
    row = c.thread / runs < step ? c.thread / runs : c.rows;  // left over threads have no rows
    column = c.column0 + place;
  }
};

// Any epilogue. All that a thread reads of a residual it reads before it writes there, and no other
// thread writes there, so out may be the residual.
template <class T, int Slots, int Width, bool Gated, class Load>
__device__ __forceinline__ void finish_general(const EpilogueArgs& e, const Chunk& c, Load&& load) {
  const ChunkRun<Slots, Width, Gated> at(c);
  const std::int64_t left = e.n - at.column;
  const int count = left < Width ? static_cast<int>(left) : Width;
  if (count <= 0) return;
#pragma unroll 1
  for (int row = at.row; row < c.rows; row += at.step) {
    const std::int64_t out_row = c.row0 + row;
    float acc[Width], up[Width], other[Width];
    load(row, at.place, acc);
    load_run(c.bias + at.place, other);
    finish_product(e, out_row, e.gate_row + at.column, count, other, acc);
    if (Gated) {
      load(row, at.place + at.columns, up);
      load_run(c.bias + at.place + at.columns, other);
      finish_product(e, out_row, e.up_row + at.column, count, other, up);
    }
    activate_run(e, Gated, acc, up);
#pragma unroll
    for (int i = 0; i < Width; ++i) other[i] = 0.0f;
    if (e.residual.present()) e.residual.load_floats(out_row, at.column, count, other);
#pragma unroll
    for (int i = 0; i < Width; ++i) acc[i] = fmaf(e.alpha, acc[i], other[i]);
    e.out.store_floats(out_row, at.column, count, acc);
  }
}

// A row's run in the type of x, as it lies in memory.
template <class T, int Width>
__device__ __forceinline__ Run<T, Width> rounded(const float (&values)[Width]) {
  Run<T, Width> run;
#pragma unroll
  for (int i = 0; i < Width; ++i) run.value[i] = from_float<T>(values[i]);
  return run;
}

// Reads nothing but sums, so a plain unrolled loop does.
template <class T, int Slots, int Width, int Rows, bool Gated, Activation Name, class Load>
__device__ __forceinline__ void finish_activation(const EpilogueArgs& e, const Chunk& c,
                                                  Load&& load) {
  const ChunkRun<Slots, Width, Gated> at(c);
  if (at.column >= e.n) return;
  float bias[Width], up_bias[Width];
  load_run(c.bias + at.place, bias);
  if (Gated) load_run(c.bias + at.place + at.columns, up_bias);
  T* out = static_cast<T*>(e.out.data) + static_cast<std::int64_t>(c.row0 + at.row) * e.out.stride +
           at.column;
  const std::int64_t pitch = at.step * e.out.stride;
#pragma unroll(Rows)
  for (int row = at.row; row < c.rows; row += at.step, out += pitch) {
    float acc[Width], up[Width];
    load(row, at.place, acc);
    if (Gated) load(row, at.place + at.columns, up);
#pragma unroll
    for (int i = 0; i < Width; ++i) {
      acc[i] = activated<Name>(acc[i] + bias[i]);
      if (Gated) acc[i] *= up[i] + up_bias[i];
      acc[i] *= e.alpha;
    }
    rounded<T>(acc).store(out, Width, true);
  }
}

// Rows rows of a thread at a time: what is read for all of them is read before any is computed, so
// that one wait serves them all; the last rows in batches of 4, 2 and 1.
template <class T, int Slots, int Width, int Rows, class Load>
__device__ __forceinline__ void finish_residual(const EpilogueArgs& e, const Chunk& c,
                                                Load&& load) {
  const ChunkRun<Slots, Width, false> at(c);
  if (at.column >= e.n) return;
  float bias[Width];
  load_run(c.bias + at.place, bias);
  const T* const residual = static_cast<const T*>(e.residual.data) +
                            static_cast<std::int64_t>(c.row0) * e.residual.stride + at.column;
  T* const out =
      static_cast<T*>(e.out.data) + static_cast<std::int64_t>(c.row0) * e.out.stride + at.column;
  const auto batch = [&](auto count, int first) {
    constexpr int rows = decltype(count)::value;
    Run<T, Width> other[rows];
    float acc[rows][Width];
#pragma unroll
    for (int u = 0; u < rows; ++u) {
      other[u].load(residual + (first + u * at.step) * e.residual.stride, Width, true);
    }
#pragma unroll
    for (int u = 0; u < rows; ++u) load(first + u * at.step, at.place, acc[u]);
#pragma unroll
    for (int u = 0; u < rows; ++u) {
#pragma unroll
      for (int i = 0; i < Width; ++i) {
        acc[u][i] = fmaf(e.alpha, acc[u][i] + bias[i], to_float(other[u].value[i]));
      }
    }
#pragma unroll
    for (int u = 0; u < rows; ++u) {
      rounded<T>(acc[u]).store(out + (first + u * at.step) * e.out.stride, Width, true);
    }
  };
  int row = at.row;
  const auto batches = [&](auto count) {
    constexpr int rows = decltype(count)::value;
#pragma unroll 1
    for (; row + (rows - 1) * at.step < c.rows; row += rows * at.step) batch(count, row);
  };
  batches(std::integral_constant<int, Rows>{});
  if constexpr (Rows > 4) batches(std::integral_constant<int, 4>{});
  if constexpr (Rows > 2) batches(std::integral_constant<int, 2>{});
  if constexpr (Rows > 1) batches(std::integral_constant<int, 1>{});
}

template <class T, int Slots, int Width, int Rows, class Load>
__device__ __forceinline__ void finish_scaled(const EpilogueArgs& e, const Chunk& c, Load&& load) {
  const ChunkRun<Slots, Width, false> at(c);
  if (at.column >= e.n) return;
  const bool centred = e.row_mean.present();
  float bias[Width], sum[Width];
  load_run(c.bias + at.place, bias);
#pragma unroll
  for (int i = 0; i < Width; ++i) sum[i] = centred ? e.col_sum.at(at.column + i) : 0.0f;
  T* out = static_cast<T*>(e.out.data) + static_cast<std::int64_t>(c.row0 + at.row) * e.out.stride +
           at.column;
  const std::int64_t pitch = at.step * e.out.stride;
#pragma unroll(Rows)
  for (int row = at.row; row < c.rows; row += at.step, out += pitch) {
    float acc[Width];
    load(row, at.place, acc);
    const float scale = c.row_scale[row];
    const float mean = centred ? c.row_mean[row] : 0.0f;
#pragma unroll
    for (int i = 0; i < Width; ++i) {
      acc[i] = (fmaf(-mean, sum[i], acc[i]) * scale + bias[i]) * e.alpha;
    }
    rounded<T>(acc).store(out, Width, true);
  }
}

// How a kernel runs the loops.
template <int SlotsOf, int RowsOf, int MemoryRowsOf, bool GeneralOf>
struct ChunkShape {
  static constexpr int slots = SlotsOf;             // of a chunk
  static constexpr int width = 4;                   // columns of a run: no bank conflicts
  static constexpr int rows = RowsOf;               // that a thread has under way at once,
  static constexpr int memory_rows = MemoryRowsOf;  // and where each reads a residual
  static constexpr bool general = GeneralOf;  // it has the general loop, which needs most registers
};

// Finishes a chunk of accumulators. T is the type of x, S a ChunkShape. load(row, place, values)
// gives a run of them.
template <class T, class S, class Load>
__device__ __forceinline__ void finish_chunk(const EpilogueArgs& e, EpilogueLoop loop,
                                             const Chunk& c, Load&& load) {
  constexpr int slots = S::slots, width = S::width, rows = S::rows;
  switch (loop) {
    case EpilogueLoop::activation:
      with_activation(e.activation, [&](auto name) {
        constexpr Activation activation = decltype(name)::value;
        if (e.gated) {
          finish_activation<T, slots, width, rows, true, activation>(e, c, load);
        } else {
          finish_activation<T, slots, width, rows, false, activation>(e, c, load);
        }
      });
      return;
    case EpilogueLoop::residual:
      return finish_residual<T, slots, width, S::memory_rows>(e, c, load);
    case EpilogueLoop::scaled:
      return finish_scaled<T, slots, width, rows>(e, c, load);
    case EpilogueLoop::general:
      if constexpr (S::general) {
        if (e.gated) {
          finish_general<T, slots, width, true>(e, c, load);
        } else {
          finish_general<T, slots, width, false>(e, c, load);
        }
      }
  }
}

// Asks for what the epilogue of the rows from row0 on will read of the residual, a row a thread, so
// that it lies in L2 by then.
__device__ inline void prefetch_residual(const EpilogueArgs& e, std::int64_t row0,
                                         std::int64_t column0, int columns, int row) {
  if (!e.residual.present() || !e.residual.vector || row0 + row >= e.m) return;
  const int size = e.residual.dtype == DType::f32 ? 4 : 2;
  const std::int64_t left = e.n - column0;
  const int bytes = static_cast<int>(left < columns ? left : columns) * size / 16 * 16;
  if (bytes <= 0 || column0 % 8 != 0) return;
  const char* from = static_cast<const char*>(e.residual.data) +
                     ((row0 + row) * e.residual.stride + column0) * size;
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
