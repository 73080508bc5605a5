// Sums of rows and biases, one part of them scaled, in fp32 with one rounding.
#include "cuda/launch.cuh"
#include "cuda/norm/norm.hpp"
#include "cuda/operands.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace {

constexpr int threads = 256;

struct ResidualArgs {
  std::int64_t runs = 0;  // of all rows
  std::int64_t runs_a_row = 0;
  std::int64_t h = 0;
  RowsArg outer[2];
  RowsArg inner[2];
  VectorArg inner_bias[2];
  float inner_scale = 1.0f;
  RowsArg out;
};

using Values = float[run_width];

template <class T>
__device__ inline void add(const RowsArg& rows, const Run<T, run_width>& run, Values& sum) {
  if (!rows.present()) return;
#pragma unroll
  for (int i = 0; i < run_width; ++i) sum[i] += to_float(run.value[i]);
}

template <class T>
__global__ void __launch_bounds__(threads) sum_rows(const __grid_constant__ ResidualArgs a) {
  for (std::int64_t t = blockIdx.x * std::int64_t{threads} + threadIdx.x; t < a.runs;
       t += gridDim.x * std::int64_t{threads}) {
    const std::int64_t row = t / a.runs_a_row;
    const std::int64_t column = t % a.runs_a_row * run_width;
    const int count = a.h - column < run_width ? static_cast<int>(a.h - column) : run_width;
    Run<T, run_width> outer[2], inner[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (a.outer[i].present()) outer[i] = a.outer[i].load<T>(row, column, count);
      if (a.inner[i].present()) inner[i] = a.inner[i].load<T>(row, column, count);
    }
    Values scaled = {};
    add(a.inner[0], inner[0], scaled);
    add(a.inner[1], inner[1], scaled);
#pragma unroll
    for (int b = 0; b < 2; ++b) {
      if (!a.inner_bias[b].present()) continue;
      Values bias;
      a.inner_bias[b].load_floats(column, count, bias);
#pragma unroll
      for (int i = 0; i < run_width; ++i) scaled[i] += bias[i];
    }
    Values sum = {};
    add(a.outer[0], outer[0], sum);
    add(a.outer[1], outer[1], sum);
#pragma unroll
    for (int i = 0; i < run_width; ++i) sum[i] = fmaf(a.inner_scale, scaled[i], sum[i]);
    a.out.store_floats(row, column, count, sum);
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
  for (const Rows* rows : {&call.outer[0], &call.outer[1], &call.inner[0], &call.inner[1]}) {
    if (rows->present && rows->dtype != dtype_of(call)) return "the inputs differ in dtype";
  }
  return nullptr;
}

void residual_add(const ResidualCall& call, cudaStream_t stream) {
  ResidualArgs a;
  a.runs_a_row = (call.h + run_width - 1) / run_width;
  a.runs = a.runs_a_row * call.m;
  a.h = call.h;
  for (int i = 0; i < 2; ++i) {
    a.outer[i] = rows_arg(call.outer[i], call.m);
    a.inner[i] = rows_arg(call.inner[i], call.m);
    a.inner_bias[i] = vector_arg(call.inner_bias[i]);
  }
  a.inner_scale = call.inner_scale;
  a.out = rows_arg(call.out, call.m);
  const LaunchShape shape{grid_of((a.runs + threads - 1) / threads), threads, stream};
  dispatch_type(dtype_of(call), [&](auto type) {
    launch("cuda.residual_add", sum_rows<decltype(type)>, shape, a);
  });
}

void load_residual_add() {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    dispatch_type(dtype, [](auto type) { load_kernel(sum_rows<decltype(type)>); });
  }
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
