// Sums of rows and biases, one part of them scaled, in fp32 with one rounding.
#include "cuda/column_tiles.cuh"
#include "cuda/norm/norm.hpp"
#include "cuda/operands.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace {

constexpr int threads = ColumnTiles::max_threads;

struct ResidualArgs {
  ColumnTiles tiles;
  RowsArg outer[2];
  RowsArg inner[2];
  VectorArg inner_bias[2];
  float inner_scale = 1.0f;
  RowsArg out;
};

// Rows that a thread reads before it writes the first.
template <int Width>
constexpr int together = Width > 1 ? 2 : 8;

// Blocks for which a multiprocessor has registers.
template <class T, int Width>
constexpr int resident = sizeof(T) * Width > 16 ? 2 : 3;

template <class T, int Width>
__device__ inline void load(const RowsArg& rows, std::int64_t row, std::int64_t column,
                            Run<T, Width>& run) {
  run.load(static_cast<const T*>(rows.data) + row * rows.stride + column, Width, Width > 1);
}

template <class T, int Width>
__device__ inline void add(const RowsArg& rows, const Run<T, Width>& run, float (&sum)[Width]) {
  if (!rows.present()) return;
#pragma unroll
  for (int i = 0; i < Width; ++i) sum[i] += to_float(run.value[i]);
}

// The thread's columns of both biases; 0 where absent.
template <int Width>
__device__ inline void load_bias(const VectorArg& vector, std::int64_t column,
                                 float (&bias)[Width]) {
#pragma unroll
  for (int i = 0; i < Width; ++i) bias[i] = 0.0f;
  if (vector.present()) vector.load_floats(column, Width, bias);
}

// Runs of Width columns: 8 where all rows allow 16 bytes at a time, else 1.
template <class T, int Width>
__global__ void __launch_bounds__(threads, resident<T, Width>)
    sum_rows(const __grid_constant__ ResidualArgs a) {
  constexpr int rows = together<Width>;
  release_successor();
  await_predecessor();
  const TilePlace place = TilePlace::of(a.tiles);
  if (place.row >= a.tiles.m) return;
  const std::int64_t column = place.unit * Width;
  float bias[2][Width];
  load_bias(a.inner_bias[0], column, bias[0]);
  load_bias(a.inner_bias[1], column, bias[1]);
  for (std::int64_t first = place.row; first < a.tiles.m; first += rows * place.step) {
    Run<T, Width> outer[2][rows], inner[2][rows];
#pragma unroll
    for (int term = 0; term < 2; ++term) {
#pragma unroll
      for (int i = 0; i < rows; ++i) {
        const std::int64_t row = first + i * place.step;
        if (row >= a.tiles.m) continue;
        if (a.outer[term].present()) load(a.outer[term], row, column, outer[term][i]);
        if (a.inner[term].present()) load(a.inner[term], row, column, inner[term][i]);
      }
    }
#pragma unroll
    for (int i = 0; i < rows; ++i) {
      const std::int64_t row = first + i * place.step;
      if (row >= a.tiles.m) continue;
      float scaled[Width] = {};
      add(a.inner[0], inner[0][i], scaled);
      add(a.inner[1], inner[1][i], scaled);
#pragma unroll
      for (int e = 0; e < Width; ++e) scaled[e] = scaled[e] + bias[0][e] + bias[1][e];
      float sum[Width] = {};
      add(a.outer[0], outer[0][i], sum);
      add(a.outer[1], outer[1][i], sum);
      Run<T, Width> out;
#pragma unroll
      for (int e = 0; e < Width; ++e) {
        out.value[e] = from_float<T>(fmaf(a.inner_scale, scaled[e], sum[e]));
      }
      out.store(static_cast<T*>(a.out.data) + row * a.out.stride + column, Width, Width > 1);
    }
  }
}

// The dtype that all the rows share.
DType dtype_of(const ResidualCall& call) {
  for (const Rows* rows : {&call.outer[0], &call.outer[1], &call.inner[0], &call.inner[1]}) {
    if (rows->present) return rows->dtype;
  }
  return call.out.dtype;
}

}  // namespace

const char* residual_add_refusal(const ResidualCall& call) {
  for (const Rows* rows :
       {&call.outer[0], &call.outer[1], &call.inner[0], &call.inner[1], &call.out}) {
    if (rows->present && rows->dtype != dtype_of(call)) return "rows of several dtypes";
  }
  return nullptr;
}

void residual_add(const ResidualCall& call, const ContextState& context) {
  const DeviceState& device = device_state(context);
  ResidualArgs a;
  a.out = rows_arg(call.out, call.m);
  bool vector = call.h % run_width == 0 && a.out.vector;
  for (int i = 0; i < 2; ++i) {
    a.outer[i] = rows_arg(call.outer[i], call.m);
    a.inner[i] = rows_arg(call.inner[i], call.m);
    a.inner_bias[i] = vector_arg(call.inner_bias[i]);
    for (const RowsArg* rows : {&a.outer[i], &a.inner[i]}) {
      vector = vector && (rows->data == nullptr || rows->vector);
    }
  }
  a.inner_scale = call.inner_scale;
  const int width = vector ? run_width : 1;
  dispatch_type(dtype_of(call), [&](auto type) {
    using T = decltype(type);
    a.tiles = column_tiles(call.m, call.h / width, vector ? resident<T, run_width> : resident<T, 1>,
                           device);
    const LaunchShape shape = shape_of(a.tiles, stream_of(context), device);
    launch("cuda.residual_add", vector ? sum_rows<T, run_width> : sum_rows<T, 1>, shape, a);
  });
}

void load_residual_add() {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    dispatch_type(dtype, [](auto type) {
      using T = decltype(type);
      load_kernel(sum_rows<T, run_width>);
      load_kernel(sum_rows<T, 1>);
    });
  }
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
