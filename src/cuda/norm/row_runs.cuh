// How threads share a row: each holds a few runs of 16 bytes of it in registers. Rows at other
// addresses pass through shared memory, so that neighbouring threads still touch neighbouring
// columns.
#pragma once

#include "cuda/launch.cuh"
#include "cuda/operands.cuh"

namespace postlude {
namespace detail {
namespace cuda {

// Columns of a run: 16 bytes.
template <class T>
inline constexpr int run_columns = 16 / static_cast<int>(sizeof(T));

// The two floats of a word, and their word again: one instruction each.
template <class T>
__device__ inline float2 unpack_pair(std::uint32_t word) {
  if constexpr (dtype_of<T>() == DType::bf16) {
    return make_float2(__uint_as_float(word << 16), __uint_as_float(word & 0xffff0000u));
  } else {
    return __half22float2(reinterpret_cast<const __half2&>(word));
  }
}

template <class T, int Width>
__device__ inline void unpack(const Run<T, Width>& run, float (&values)[Width]) {
  if constexpr (sizeof(T) == 4) {
#pragma unroll
    for (int i = 0; i < Width; ++i) values[i] = run.value[i];
  } else {
    const auto* words = reinterpret_cast<const std::uint32_t*>(run.value);
#pragma unroll
    for (int i = 0; i < Width / 2; ++i) {
      const float2 pair = unpack_pair<T>(words[i]);
      values[2 * i] = pair.x;
      values[2 * i + 1] = pair.y;
    }
  }
}

template <class T>
__device__ inline void unpack(const uint4& packed, float (&values)[run_columns<T>]) {
  unpack(reinterpret_cast<const Run<T, run_columns<T>>&>(packed), values);
}

// Rounds each once.
template <class T>
__device__ inline uint4 pack(const float (&values)[run_columns<T>]) {
  Run<T, run_columns<T>> run;
#pragma unroll
  for (int i = 0; i < run_columns<T>; ++i) run.value[i] = from_float<T>(values[i]);
  return reinterpret_cast<const uint4&>(run);
}

inline constexpr int held_runs = 4;  // of a thread

// A function of the row's length alone, and with it the order of every sum: not of the number of
// rows, nor of their addresses.
struct RowSplit {
  int lanes = 0;  // threads of a warp that share a row: a power of two
  int bits = 0;   // its logarithm
  int warps = 0;  // warps of a block that share a row; 0: the row is too long to be held
  int rows = 0;   // rows of a block; 1 where a row has several warps

  int threads() const { return lanes * warps * rows; }
};

// Blocks that handle several rows have as many threads.
inline constexpr int narrow_threads = 128;

template <class T>
RowSplit row_split(std::int64_t h) {
  constexpr int a_warp = 32 * held_runs;
  constexpr int most_warps = sizeof(T) == 2 ? 24 : 32;
  const std::int64_t runs = (h + run_columns<T> - 1) / run_columns<T>;
  RowSplit s;
  if (runs > most_warps * a_warp) return s;
  s.bits = 5;
  while (s.bits > 0 && (1 << s.bits) / 2 * held_runs >= runs) --s.bits;
  s.lanes = 1 << s.bits;
  s.warps = std::max(1, (static_cast<int>(runs) + a_warp - 1) / a_warp);
  s.rows = s.warps > 1 ? 1 : narrow_threads / s.lanes;
  return s;
}

// The kernels there are. Narrow: a row has less than a warp. Aligned: all runs are whole, and they
// and the vectors start at multiples of 16 bytes. Adds: what is held is a sum in fp32, else the row
// as it lies in memory.
template <class T, bool Narrow, bool Aligned, bool Adds>
struct RowForm {
  using Type = T;
  static constexpr bool narrow = Narrow;
  static constexpr bool aligned = Aligned;
  static constexpr bool adds = Adds;
  static constexpr int width = run_columns<T>;
  // Threads for which a multiprocessor has registers: 64 a thread, or 80, or 128.
  static constexpr int resident =
      Narrow && !Aligned ? 512 : (sizeof(T) == 2 && (Adds || !Aligned) ? 768 : 1024);
  static constexpr int threads = Narrow ? narrow_threads : resident;
};

// A thread's place. Its run i starts at column + i * stride; runs and columns from `limit` on are
// not the row's.
template <class Form>
struct Seat {
  static constexpr int width = Form::width;

  std::int64_t row;
  int lanes;  // of the row, in this warp
  int lane;   // among them
  int warp;   // of the row
  int column;
  int limit;

  __device__ static Seat of(const RowSplit& s, std::int64_t first_row, std::int64_t m, int h) {
    Seat seat;
    const unsigned thread = threadIdx.x;
    const unsigned team = thread >> (Form::narrow ? s.bits : 5);
    seat.lanes = Form::narrow ? s.lanes : 32;
    seat.lane = static_cast<int>(thread) & (seat.lanes - 1);
    seat.warp = Form::narrow || s.rows > 1 ? 0 : static_cast<int>(team);
    seat.row = first_row + static_cast<std::int64_t>(blockIdx.x) * s.rows +
               (static_cast<int>(team) - seat.warp);
    seat.column = (seat.warp * 32 * held_runs + seat.lane) * width;
    seat.limit = seat.row < m ? h : 0;
    return seat;
  }

  // Columns from one run to the next.
  __device__ int step() const { return lanes * width; }
  __device__ int column_of(int i) const { return column + i * step(); }
  __device__ bool active(int i) const { return column_of(i) < limit; }
  // Of run i's columns, those of the row.
  __device__ int count(int i) const { return limit - column_of(i); }
  // Has places computed anew from here on: kept, they would take the registers that the row is to
  // have.
  __device__ void forget() { asm volatile("" : "+r"(column)); }
  // Columns of all the threads that share the row in this warp.
  __device__ int columns_of_warp() const {
    return min(lanes * held_runs * width, limit - (column - lane * width));
  }
};

// 16 bytes, or zeros without a read, past L1: a row is read once.
__device__ inline uint4 load_once(const void* from, bool wanted) {
  uint4 v;
  asm volatile(
      "{\n"
      ".reg .pred wanted;\n"
      "setp.ne.b32 wanted, %5, 0;\n"
      "mov.b32 %0, 0;\n"
      "mov.b32 %1, 0;\n"
      "mov.b32 %2, 0;\n"
      "mov.b32 %3, 0;\n"
      "@wanted ld.global.L1::no_allocate.v4.b32 {%0, %1, %2, %3}, [%4];\n"
      "}\n"
      : "=&r"(v.x), "=&r"(v.y), "=&r"(v.z), "=&r"(v.w)
      : "l"(from), "r"(static_cast<int>(wanted)));
  return v;
}

// Reads and writes of one thread's runs of rows. Where rows are not aligned, a warp turns each of
// its runs around in dynamic shared memory, 16 bytes a thread: all its threads take part.
template <class Form>
class RowPath {
 public:
  using T = typename Form::Type;
  static constexpr int width = Form::width;

  __device__ explicit RowPath(const Seat<Form>& seat) : seat_(seat) {}

  // Zeros beyond the row.
  template <int Runs = held_runs>
  __device__ void load(const RowsArg& rows, uint4 (&run)[Runs], int first = 0) const {
    const T* from = row(rows);
    if constexpr (Form::aligned) {
#pragma unroll
      for (int i = 0; i < Runs; ++i) {
        run[i] = load_once(from + (first + i) * seat_.step(), seat_.active(first + i));
      }
    } else {
      T element[Runs][width];
#pragma unroll
      for (int i = 0; i < Runs; ++i) {
#pragma unroll
        for (int e = 0; e < width; ++e) {
          const int column = turned_column(first + i, e);
          element[i][e] = column < seat_.limit ? from[(first + i) * seat_.step() + e * seat_.lanes]
                                               : from_float<T>(0.0f);
        }
      }
#pragma unroll
      for (int i = 0; i < Runs; ++i) {
#pragma unroll
        for (int e = 0; e < width; ++e) turned(e) = element[i][e];
        __syncwarp();
        run[i] = own();
        __syncwarp();
      }
    }
  }

  __device__ void store(const RowsArg& rows, int i, const uint4& run) const {
    T* to = row(rows);
    if constexpr (Form::aligned) {
      *reinterpret_cast<uint4*>(to + i * seat_.step()) = run;
    } else {
      own() = run;
      __syncwarp();
#pragma unroll
      for (int e = 0; e < width; ++e) {
        const int column = turned_column(i, e);
        if (column < seat_.limit) to[i * seat_.step() + e * seat_.lanes] = turned(e);
      }
      __syncwarp();
    }
  }

 private:
  // The first column that this thread moves.
  __device__ T* row(const RowsArg& rows) const {
    const int first = Form::aligned ? seat_.column : turned_column(0, 0);
    return static_cast<T*>(rows.data) + seat_.row * rows.stride + first;
  }
  // The e-th of the columns that this thread moves of the run i of all threads.
  __device__ int turned_column(int i, int e) const {
    return seat_.column_of(i) - seat_.lane * (width - 1) + e * seat_.lanes;
  }
  __device__ T& turned(int e) const {
    const int lane = static_cast<int>(threadIdx.x % 32);
    const int at = (lane - seat_.lane) * width + e * seat_.lanes + seat_.lane;
    return reinterpret_cast<T*>(shared_memory() + (threadIdx.x - lane) * 16)[at];
  }
  __device__ uint4& own() const { return reinterpret_cast<uint4*>(shared_memory())[threadIdx.x]; }

  const Seat<Form>& seat_;
};

// A thread's columns of a vector (h,) in T or fp32, from `column` on, zeros from `count` on. Known:
// it is in T.
template <class Form, bool Known>
__device__ inline void load_vector(const VectorArg& vector, int column, int count,
                                   float (&values)[Form::width]) {
  using T = typename Form::Type;
  const auto load = [&](auto type) {
    using V = decltype(type);
    Run<V, Form::width> run;
    run.load(static_cast<const V*>(vector.data) + column, Form::aligned ? Form::width : count,
             Form::aligned || vector.vector);
    unpack(run, values);
  };
  if (Known || vector.dtype == dtype_of<T>()) {
    load(T());
  } else {
    load(float());
  }
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
