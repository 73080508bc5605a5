// LayerNorm, RMSNorm and plain sums over rows: one block a row, in fp32, each stored tensor rounded
// once.
#include "cuda/launch.cuh"
#include "cuda/norm/norm.hpp"
#include "cuda/operands.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace {

// A thread handles runs of 8 neighbours, the block's width apart; up to 2 of them it keeps in
// registers.
constexpr int max_threads = 1024;
constexpr int long_threads = 512;  // of long rows, which need more registers
constexpr int runs_held = 2;
constexpr std::int64_t max_held = std::int64_t{max_threads} * runs_held * run_width;

struct NormArgs {
  std::int64_t m = 0;
  std::int64_t h = 0;
  RowsArg x, residual, add_after;
  VectorArg bias;
  NormKind kind = NormKind::none;
  VectorArg weight, norm_bias;
  float eps = 0.0f;
  float weight_offset = 0.0f;
  RowsArg r_out, n_out;
};

using Values = float[run_width];

// The columns of one run of a row.
struct Span {
  std::int64_t column;
  int count;

  __device__ static Span of(std::int64_t run, std::int64_t h) {
    const std::int64_t column = run * run_width;
    const std::int64_t left = h - column;
    return {column, left >= run_width ? run_width : left <= 0 ? 0 : static_cast<int>(left)};
  }
};

// r = x (+ residual) (+ bias), zeros beyond the row's end.
template <class T>
__device__ inline void load_sum(const NormArgs& a, std::int64_t row, Span span, Values& r) {
  const Run<T, run_width> x = a.x.load<T>(row, span.column, span.count);
  Run<T, run_width> residual;
  if (a.residual.present()) residual = a.residual.load<T>(row, span.column, span.count);
  Values bias;
  if (a.bias.present()) a.bias.load_floats(span.column, span.count, bias);
#pragma unroll
  for (int i = 0; i < run_width; ++i) {
    r[i] = to_float(x.value[i]);
    if (a.residual.present()) r[i] += to_float(residual.value[i]);
    if (a.bias.present()) r[i] += bias[i];
  }
}

// The sum of each component over the block, the same in every thread and in every run.
__device__ inline float2 block_sum(float2 v) {
  __shared__ float2 of_warp[max_threads / 32];
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    v.x += __shfl_xor_sync(0xffffffffu, v.x, distance);
    v.y += __shfl_xor_sync(0xffffffffu, v.y, distance);
  }
  const int warps = static_cast<int>(blockDim.x) / 32;
  if (warps == 1) return v;
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = v;
  __syncthreads();
  float2 sum = of_warp[0];
  for (int w = 1; w < warps; ++w) {
    sum.x += of_warp[w].x;
    sum.y += of_warp[w].y;
  }
  __syncthreads();  // of_warp is free for the next sum
  return sum;
}

// norm(r) = (r - mean - correction) * rstd.
struct Statistics {
  float mean = 0.0f;
  float correction = 0.0f;
  float rstd = 1.0f;
};

// for_runs(f) calls f(span, r) for each of this thread's runs of the row. LayerNorm's second pass
// sums the differences from the rounded mean as well as their squares, which gives what the mean
// lacks; nothing large cancels.
template <class ForRuns>
__device__ inline Statistics statistics(const NormArgs& a, ForRuns&& for_runs) {
  Statistics s;
  const float h = static_cast<float>(a.h);
  if (a.kind == NormKind::none) return s;
  float2 sum = make_float2(0.0f, 0.0f);
  if (a.kind == NormKind::rms) {
    for_runs([&](Span, const Values& r) {
#pragma unroll
      for (int i = 0; i < run_width; ++i) sum.x = fmaf(r[i], r[i], sum.x);
    });
    s.rstd = 1.0f / sqrtf(block_sum(sum).x / h + a.eps);
    return s;
  }
  for_runs([&](Span, const Values& r) {
#pragma unroll
    for (int i = 0; i < run_width; ++i) sum.x += r[i];
  });
  s.mean = block_sum(sum).x / h;
  sum = make_float2(0.0f, 0.0f);
  for_runs([&](Span span, const Values& r) {
#pragma unroll
    for (int i = 0; i < run_width; ++i) {
      const float d = i < span.count ? r[i] - s.mean : 0.0f;
      sum.x += d;
      sum.y = fmaf(d, d, sum.y);
    }
  });
  sum = block_sum(sum);
  s.correction = sum.x / h;
  const float variance = (sum.y - sum.x * s.correction) / h;
  s.rstd = 1.0f / sqrtf((variance < 0.0f ? 0.0f : variance) + a.eps);
  return s;
}

// Stores one run of r_out and n_out. All that is read at these columns is read before anything is
// written there, as the outputs may be the inputs.
__device__ inline void finish(const NormArgs& a, const Statistics& s, std::int64_t row, Span span,
                              const Values& r) {
  Values n;
#pragma unroll
  for (int i = 0; i < run_width; ++i) n[i] = (r[i] - s.mean - s.correction) * s.rstd;
  Values other;
  if (a.weight.present()) {
    a.weight.load_floats(span.column, span.count, other);
#pragma unroll
    for (int i = 0; i < run_width; ++i) n[i] *= other[i] + a.weight_offset;
  } else if (a.kind == NormKind::rms) {
#pragma unroll
    for (int i = 0; i < run_width; ++i) n[i] *= 1.0f + a.weight_offset;
  }
  if (a.norm_bias.present()) {
    a.norm_bias.load_floats(span.column, span.count, other);
#pragma unroll
    for (int i = 0; i < run_width; ++i) n[i] += other[i];
  }
  if (a.add_after.present()) {
    a.add_after.load_floats(row, span.column, span.count, other);
#pragma unroll
    for (int i = 0; i < run_width; ++i) n[i] += other[i];
  }
  if (a.r_out.present()) a.r_out.store_floats(row, span.column, span.count, r);
  if (a.n_out.present()) a.n_out.store_floats(row, span.column, span.count, n);
}

// Rows of up to max_held columns: each is read once.
template <class T>
__global__ void __launch_bounds__(max_threads) norm_held(const __grid_constant__ NormArgs a) {
  for (std::int64_t row = blockIdx.x; row < a.m; row += gridDim.x) {
    Values r[runs_held];
    Span spans[runs_held];
#pragma unroll
    for (int i = 0; i < runs_held; ++i) {
      spans[i] = Span::of(threadIdx.x + i * blockDim.x, a.h);
      load_sum<T>(a, row, spans[i], r[i]);
    }
    const Statistics s = statistics(a, [&](auto&& f) {
#pragma unroll
      for (int i = 0; i < runs_held; ++i) f(spans[i], r[i]);
    });
#pragma unroll
    for (int i = 0; i < runs_held; ++i) {
      if (spans[i].count > 0) finish(a, s, row, spans[i], r[i]);
    }
  }
}

// Longer rows: each is read once a pass.
template <class T>
__global__ void __launch_bounds__(long_threads) norm_long(const __grid_constant__ NormArgs a) {
  for (std::int64_t row = blockIdx.x; row < a.m; row += gridDim.x) {
    const auto for_runs = [&](auto&& f) {
      const std::int64_t runs = (a.h + run_width - 1) / run_width;
      for (std::int64_t run = threadIdx.x; run < runs; run += blockDim.x) {
        const Span span = Span::of(run, a.h);
        Values r;
        load_sum<T>(a, row, span, r);
        f(span, r);
      }
    };
    const Statistics s = statistics(a, for_runs);
    for_runs([&](Span span, const Values& r) { finish(a, s, row, span, r); });
  }
}

NormArgs norm_args(const NormCall& call) {
  NormArgs a;
  a.m = call.m;
  a.h = call.h;
  a.x = rows_arg(call.x, call.m);
  a.residual = rows_arg(call.residual, call.m);
  a.add_after = rows_arg(call.add_after, call.m);
  a.bias = vector_arg(call.bias);
  a.kind = call.kind;
  if (call.kind != NormKind::none) {
    a.weight = vector_arg(call.weight);
    a.norm_bias = vector_arg(call.norm_bias);
    a.weight_offset = call.kind == NormKind::rms ? call.weight_offset : 0.0f;
  }
  a.eps = call.eps;
  a.r_out = rows_arg(call.r_out, call.m);
  a.n_out = rows_arg(call.n_out, call.m);
  return a;
}

}  // namespace

const char* norm_refusal(const NormCall& call) {
  if (call.residual.present && call.residual.dtype != call.x.dtype) {
    return "the residual's dtype is not that of x";
  }
  return nullptr;
}

// The number of threads depends on h alone, and with it the order of every sum.
void norm(const NormCall& call, cudaStream_t stream) {
  const NormArgs args = norm_args(call);
  const bool held = call.h <= max_held;
  const std::int64_t wanted = (call.h + runs_held * run_width - 1) / (runs_held * run_width);
  LaunchShape shape;
  shape.blocks = grid_of(call.m);
  shape.threads = held ? static_cast<unsigned>((wanted + 31) / 32 * 32) : long_threads;
  shape.stream = stream;
  dispatch_type(call.x.dtype, [&](auto type) {
    using T = decltype(type);
    launch("cuda.norm", held ? norm_held<T> : norm_long<T>, shape, args);
  });
}

void load_norm() {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    dispatch_type(dtype, [](auto type) {
      using T = decltype(type);
      load_kernel(norm_held<T>);
      load_kernel(norm_long<T>);
    });
  }
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
