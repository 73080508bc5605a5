// How threads share a row: each keeps the same few runs of neighbouring columns of every row that
// it handles in registers.
#pragma once

#include <cute/arch/copy_sm80.hpp>

#include "cuda/gemm/cp_async.cuh"
#include "cuda/launch.cuh"
#include "cuda/operands.cuh"

namespace postlude {
namespace detail {
namespace cuda {

inline constexpr int block_threads = 256;
inline constexpr int max_ranks = 8;  // blocks of a cluster

// A thread keeps Held runs of Width columns of T. Vector: every row starts at a multiple of 16
// bytes. Cluster: the blocks of a cluster share a row. Reads: nothing is made of the row but its
// statistics.
template <class T, int Width, int Held, bool Vector, bool Cluster, bool Reads = false>
struct RowForm {
  using Type = T;
  static constexpr int width = Width;
  static constexpr int held = Held;
  static constexpr bool vector = Vector;
  static constexpr bool cluster = Cluster;
  static constexpr bool reads = Reads;
  // Full blocks for which a multiprocessor has registers.
  static constexpr int blocks = Width * Held > 8           ? (Reads && sizeof(T) == 2 ? 3 : 2)
                                : Vector && sizeof(T) == 2 ? 5
                                                           : 4;
};

// A function of the row's length alone, and with it the order of every sum: not of the number of
// rows, nor of their alignment.
struct RowSplit {
  int width = 0;  // columns a run
  int held = 0;   // runs a thread
  int runs = 0;   // runs a row; all are whole
  int lanes = 0;  // threads of a warp that share a row: a power of two
  int warps = 0;  // warps of a block that share a row
  int ranks = 0;  // blocks of a cluster that share a row
  int rows = 0;   // rows that a block handles at once; 1 where a row has several warps

  int threads() const { return lanes * warps * rows; }
};

// The split of rows of h columns, where there is one: `ranks` is 0 where rows are too long to be
// held in registers.
inline RowSplit row_split(std::int64_t h, bool clusters) {
  constexpr int warps_a_block = block_threads / 32;
  RowSplit s;
  s.width = h % run_width == 0 ? run_width : 1;
  const std::int64_t runs = h / s.width;
  const int few = s.width == 1 ? 4 : 1;
  const int many = s.width == 1 ? 32 : 4;
  if (runs > std::int64_t{max_ranks} * block_threads * many) return s;
  s.runs = static_cast<int>(runs);
  s.lanes = 32;
  s.warps = 1;
  s.ranks = 1;
  if (s.runs <= 32 * few) {
    s.held = few;
    while (s.lanes > 1 && s.lanes / 2 * few >= s.runs) s.lanes /= 2;
  } else {
    s.held = many;
    while (s.ranks * block_threads * many < s.runs) s.ranks *= 2;
    const int a_warp = 32 * many * s.ranks;
    s.warps = (s.runs + a_warp - 1) / a_warp;
  }
  if (s.ranks > 1 && !clusters) s.ranks = 0;
  s.rows = s.warps > 1 || s.ranks > 1 ? 1 : warps_a_block * 32 / s.lanes;
  return s;
}

// A thread's place: run i of its runs is run first + i * step of the row.
struct Seat {
  int row;  // of the block's rows
  int first;
  int step;
  int runs;

  __device__ static Seat of(const RowSplit& s) {
    const int threads = s.lanes * s.warps;
    const int rank = static_cast<int>(blockIdx.x % static_cast<unsigned>(s.ranks));
    const int thread = static_cast<int>(threadIdx.x) % threads;
    return {static_cast<int>(threadIdx.x) / threads, rank * threads + thread, s.ranks * threads,
            s.runs};
  }

  // f(i, run, active) for each of the thread's runs, i being its number among them. Whole groups of
  // 8 that lie beyond the row are skipped. Places are computed anew each time: kept, they would
  // take the registers that the row is to have.
  template <class Form, class Function>
  __device__ void for_runs(Function&& f) const {
    int run = first;
    asm volatile("" : "+r"(run));
#pragma unroll
    for (int i = 0; i < Form::held; ++i) {
      if (Form::held > 8 && i % 8 == 0 && i * step >= runs) break;
      f(i, run + i * step, run + i * step < runs);
    }
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

// A thread's runs of one row as they lie in memory.
template <class Form>
struct HeldRuns {
  using T = typename Form::Type;
  Run<T, Form::width> run[Form::held];

  // Zeros where the row is not wanted, or not as long.
  __device__ void load(const RowsArg& rows, std::int64_t row, const Seat& seat, bool wanted) {
    const T* from = static_cast<const T*>(rows.data) + row * rows.stride;
    seat.for_runs<Form>([&](int i, int at_run, bool active) {
      const T* at = from + at_run * Form::width;
      if constexpr (Form::vector) {
        constexpr int pieces = Form::width * sizeof(T) / 16;
#pragma unroll
        for (int p = 0; p < pieces; ++p) {
          reinterpret_cast<uint4*>(run[i].value)[p] =
              load_once(at + p * (16 / sizeof(T)), active && wanted);
        }
      } else {
        run[i].load(at, active && wanted ? Form::width : 0, false);
      }
    });
  }
};

// A vector (h,) of which each thread brings its own runs into shared memory ahead of their use.
// Where it is not aligned, or runs are single columns, it is read from where it lies.
template <class Form>
class StagedVector {
 public:
  // What all threads of a block take in shared memory.
  static std::size_t bytes(const VectorArg& vector, int threads) {
    if (!staged(vector)) return 0;
    return std::size_t{Form::held} * run_width * size_of(vector.dtype) *
           static_cast<std::size_t>(threads);
  }

  // `vector` is an argument of the kernel, and stays there. `offset` is its place in the block's
  // dynamic shared memory.
  __device__ StagedVector(const VectorArg& vector, unsigned offset, const Seat& seat)
      : vector_(vector), offset_(offset) {
    if (!staged(vector)) return;
    const int pieces = vector.dtype == DType::f32 ? 2 : 1;
    seat.for_runs<Form>([&](int i, int at_run, bool active) {
      if (!active) return;
      const char* from = static_cast<const char*>(vector.data) + at_run * pieces * 16;
      for (int p = 0; p < pieces; ++p) copy_async(piece(i * pieces + p), from + p * 16, 16);
    });
  }

  __device__ bool present() const { return vector_.present(); }

  // The thread's run number i, `at_run` of the row. Staged runs have arrived: cute::cp_async_wait
  // came first.
  __device__ void load(int i, int at_run, float (&values)[Form::width]) const {
    if (!staged(vector_)) {
      vector_.load_floats(at_run * Form::width, Form::width, values);
    } else if constexpr (Form::width == run_width) {
      with_type(vector_.dtype, [&](auto type) {
        using V = decltype(type);
        constexpr int pieces = sizeof(V) * run_width / 16;
        Run<V, run_width> run;
#pragma unroll
        for (int p = 0; p < pieces; ++p) {
          reinterpret_cast<uint4*>(run.value)[p] =
              *reinterpret_cast<const uint4*>(piece(i * pieces + p));
        }
#pragma unroll
        for (int e = 0; e < run_width; ++e) values[e] = to_float(run.value[e]);
      });
    }
  }

 private:
  __host__ __device__ static bool staged(const VectorArg& vector) {
    return Form::width == run_width && vector.data != nullptr && vector.vector;
  }

  // Neighbouring threads have neighbouring pieces.
  __device__ char* piece(int i) const {
    return shared_memory() + offset_ + (i * blockDim.x + threadIdx.x) * 16;
  }

  const VectorArg& vector_;
  unsigned offset_;
};

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
