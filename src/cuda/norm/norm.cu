// LayerNorm, RMSNorm and plain sums over rows, or their statistics alone, in fp32: each row is read
// once and each stored tensor rounded once.
#include "cuda/device.hpp"
#include "cuda/launch.cuh"
#include "cuda/norm/norm.hpp"
#include "cuda/norm/statistics.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace {

constexpr int long_threads = 512;  // of rows too long for registers
constexpr int most_staged_bytes = 2 * 4 * block_threads * run_width * sizeof(float);

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
  float* rstd_out = nullptr;
  float* mean_out = nullptr;
  RowSplit split;
  unsigned bias_offset = 0;  // of the staged norm_bias in shared memory
};

__device__ inline void store_statistics(const NormArgs& a, const Statistics& s, std::int64_t row) {
  if (a.rstd_out != nullptr) a.rstd_out[row] = s.rstd;
  if (a.mean_out != nullptr) a.mean_out[row] = s.mean + s.correction;
}

// n = norm(r) but for the norm's bias and what follows.
template <int Width>
__device__ inline void scale_run(const NormArgs& a, const Statistics& s, const float (&r)[Width],
                                 const float (&weight)[Width], float (&n)[Width]) {
#pragma unroll
  for (int i = 0; i < Width; ++i) {
    n[i] = (r[i] - s.mean - s.correction) * s.rstd * (weight[i] + a.weight_offset);
  }
}

template <int Width>
__device__ inline void fill(float (&values)[Width], float value) {
#pragma unroll
  for (int i = 0; i < Width; ++i) values[i] = value;
}

template <int Width>
__device__ inline void add(float (&sum)[Width], const float (&other)[Width]) {
#pragma unroll
  for (int i = 0; i < Width; ++i) sum[i] += other[i];
}

template <class T, int Width>
__device__ inline void store_run(const RowsArg& rows, std::int64_t row, std::int64_t column,
                                 const float (&values)[Width], bool vector) {
  Run<T, Width> run;
#pragma unroll
  for (int i = 0; i < Width; ++i) run.value[i] = from_float<T>(values[i]);
  run.store(static_cast<T*>(rows.data) + row * rows.stride + column, Width, vector);
}

// Rows that fit into registers. The next row's x is on its way while the present one is summed up.
template <class Form>
__global__ void __launch_bounds__(block_threads, Form::blocks)
    norm_held(const __grid_constant__ NormArgs a) {
  using T = typename Form::Type;
  constexpr int width = Form::width;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
  if (Form::cluster) return;  // there are none, and it is not launched
#endif
  __shared__ SumMemory<block_threads / 32 * (Form::cluster ? max_ranks : 1)> memory;
  const RowSplit& split = a.split;
  const Seat seat = Seat::of(split);
  await_predecessor();
  release_successor();
  if constexpr (Form::cluster) cluster_barrier();
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) / split.ranks * split.rows;
  std::int64_t row = static_cast<std::int64_t>(blockIdx.x) / split.ranks * split.rows + seat.row;
  HeldRuns<Form> x, residual;
  x.load(a.x, row, seat, row < a.m);
  if (!Form::reads && a.residual.present()) residual.load(a.residual, row, seat, row < a.m);
  const StagedVector<Form> weight(a.weight, 0, seat);
  const StagedVector<Form> norm_bias(a.norm_bias, a.bias_offset, seat);
  int turn = 0;
  const auto sum_warp = [&](float2 v) {
    if constexpr (Form::cluster) return sum_cluster(v, split, memory, turn);
    return sum_warps(v, split.warps, memory, turn);
  };
  struct {
    const decltype(sum_warp)& over_warps;
    int lanes;
    __device__ float2 one(float2 v) const {
      sum_lanes<1>(lanes, v);
      return over_warps(v);
    }
    __device__ float2 two(float2 v) const {
      sum_lanes<2>(lanes, v);
      return over_warps(v);
    }
  } const sum{sum_warp, split.lanes};
  // As long as the first of the block's rows is one: all its threads meet at each sum.
  for (; row - seat.row < a.m; row += step) {
    const bool valid = row < a.m;
    float r[Form::held][width];
    seat.for_runs<Form>([&](int i, int, bool) {
#pragma unroll
      for (int e = 0; e < width; ++e) r[i][e] = to_float(x.run[i].value[e]);
    });
    if (!Form::reads && a.residual.present()) {
      seat.for_runs<Form>([&](int i, int, bool) {
#pragma unroll
        for (int e = 0; e < width; ++e) r[i][e] += to_float(residual.run[i].value[e]);
      });
    }
    if (!Form::reads && a.bias.present()) {
      seat.for_runs<Form>([&](int i, int run, bool active) {
        float bias[width];
        a.bias.load_floats(run * width, active ? width : 0, bias);
        add(r[i], bias);
      });
    }
    x.load(a.x, row + step, seat, row + step < a.m);
    if (!Form::reads && a.r_out.present() && valid) {
      seat.for_runs<Form>([&](int i, int run, bool active) {
        if (active) store_run<T>(a.r_out, row, run * width, r[i], Form::vector);
      });
    }
    const Statistics s = row_statistics(
        a.kind, static_cast<float>(a.h), a.eps,
        [&](auto&& f) {
          seat.for_runs<Form>(
              [&](int i, int, bool active) { f(r[i], [&](int) { return active; }); });
        },
        sum);
    if (seat.first == 0 && valid) store_statistics(a, s, row);
    if (Form::reads) continue;
    cute::cp_async_wait<0>();
    if (a.n_out.present() && valid) {
      seat.for_runs<Form>([&](int i, int run, bool active) {
        if (!active) return;
        const int column = run * width;
        float other[width], n[width];
        fill(other, 1.0f);
        if (weight.present()) weight.load(i, run, other);
        scale_run(a, s, r[i], other, n);
        if (norm_bias.present()) {
          norm_bias.load(i, run, other);
          add(n, other);
        }
        if (a.add_after.present()) {
          a.add_after.load_floats(row, column, width, other);
          add(n, other);
        }
        store_run<T>(a.n_out, row, column, n, Form::vector);
      });
    }
    if (a.residual.present()) residual.load(a.residual, row + step, seat, row + step < a.m);
  }
}

// The columns of one run of a long row.
struct Span {
  std::int64_t column;
  int count;

  __device__ static Span of(std::int64_t run, std::int64_t h) {
    const std::int64_t column = run * run_width;
    const std::int64_t left = h - column;
    return {column, left >= run_width ? run_width : static_cast<int>(left)};
  }
};

using Values = float[run_width];

// r = x (+ residual) (+ bias), zeros beyond the row's end.
template <class T>
__device__ inline void load_sum(const NormArgs& a, std::int64_t row, Span span, Values& r) {
  const Run<T, run_width> x = a.x.load<T>(row, span.column, span.count);
  Values other;
#pragma unroll
  for (int i = 0; i < run_width; ++i) r[i] = to_float(x.value[i]);
  if (a.residual.present()) {
    a.residual.load_floats(row, span.column, span.count, other);
    add(r, other);
  }
  if (a.bias.present()) {
    a.bias.load_floats(span.column, span.count, other);
    add(r, other);
  }
}

// Stores one run of r_out and n_out. All that is read at these columns is read before anything is
// written there, as the outputs may be the inputs.
template <class T>
__device__ inline void finish_long(const NormArgs& a, const Statistics& s, std::int64_t row,
                                   Span span, const Values& r) {
  Values n, other;
  fill(other, 1.0f);
  if (a.weight.present()) a.weight.load_floats(span.column, span.count, other);
  scale_run(a, s, r, other, n);
  if (a.norm_bias.present()) {
    a.norm_bias.load_floats(span.column, span.count, other);
    add(n, other);
  }
  if (a.add_after.present()) {
    a.add_after.load_floats(row, span.column, span.count, other);
    add(n, other);
  }
  if (a.r_out.present()) a.r_out.store_floats(row, span.column, span.count, r);
  if (a.n_out.present()) a.n_out.store_floats(row, span.column, span.count, n);
}

// Longer rows: each is read once a pass.
template <class T>
__global__ void __launch_bounds__(long_threads) norm_long(const __grid_constant__ NormArgs a) {
  __shared__ SumMemory<long_threads / 32> memory;
  await_predecessor();
  release_successor();
  int turn = 0;
  struct {
    SumMemory<long_threads / 32>& memory;
    int& turn;
    __device__ float2 two(float2 v) const {
      sum_lanes<2>(32, v);
      return sum_warps(v, long_threads / 32, memory, turn);
    }
    __device__ float2 one(float2 v) const { return two(v); }
  } const sum{memory, turn};
  for (std::int64_t row = blockIdx.x; row < a.m; row += gridDim.x) {
    const auto for_runs = [&](auto&& f) {
      const std::int64_t runs = (a.h + run_width - 1) / run_width;
      for (std::int64_t run = threadIdx.x; run < runs; run += long_threads) {
        const Span span = Span::of(run, a.h);
        Values r;
        load_sum<T>(a, row, span, r);
        f(span, r);
      }
    };
    const Statistics s = row_statistics(
        a.kind, static_cast<float>(a.h), a.eps,
        [&](auto&& f) {
          for_runs(
              [&](Span span, const Values& r) { f(r, [&](int i) { return i < span.count; }); });
        },
        sum);
    if (threadIdx.x == 0) store_statistics(a, s, row);
    if (!a.r_out.present() && !a.n_out.present()) continue;
    for_runs([&](Span span, const Values& r) { finish_long<T>(a, s, row, span, r); });
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
  a.rstd_out = static_cast<float*>(call.rstd_out.data);
  a.mean_out = static_cast<float*>(call.mean_out.data);
  return a;
}

// Calls function(Form()) for the form of rows of T that a split, their alignment and what is made
// of them ask for.
template <class T, class Function>
void with_form(const RowSplit& split, bool vector, bool reads, Function&& function) {
  if (split.width == 1) {
    if (split.held == 4) return function(RowForm<T, 1, 4, false, false>());
    if (split.ranks == 1) return function(RowForm<T, 1, 32, false, false>());
    return function(RowForm<T, 1, 32, false, true>());
  }
  if (vector) {
    if (split.held == 1) return function(RowForm<T, run_width, 1, true, false>());
    if (split.ranks == 1) {
      return reads ? function(RowForm<T, run_width, 4, true, false, true>())
                   : function(RowForm<T, run_width, 4, true, false>());
    }
    return reads ? function(RowForm<T, run_width, 4, true, true, true>())
                 : function(RowForm<T, run_width, 4, true, true>());
  }
  if (split.held == 1) return function(RowForm<T, run_width, 1, false, false>());
  if (split.ranks == 1) return function(RowForm<T, run_width, 4, false, false>());
  return function(RowForm<T, run_width, 4, false, true>());
}

template <class Form>
void launch_held(const NormArgs& args, const DeviceState& device, cudaStream_t stream) {
  const RowSplit& split = args.split;
  NormArgs a = args;
  const std::size_t weight_bytes = StagedVector<Form>::bytes(a.weight, split.threads());
  a.bias_offset = static_cast<unsigned>(weight_bytes);
  // As many blocks as are resident at once: each keeps its columns and walks down the rows. Of
  // clusters, which must lie within a part of the device, a few less.
  const int resident = device.sm_count * (Form::blocks * block_threads / split.threads());
  const int teams = split.ranks == 1 ? resident : std::max(1, resident / split.ranks * 7 / 8);
  const std::int64_t wanted = (a.m + split.rows - 1) / split.rows;
  LaunchShape shape;
  shape.blocks = grid_of(std::min<std::int64_t>(wanted, teams) * split.ranks);
  shape.threads = static_cast<unsigned>(split.threads());
  shape.stream = stream;
  shape.shared_bytes = weight_bytes + StagedVector<Form>::bytes(a.norm_bias, split.threads());
  shape.programmatic = device.programmatic;
  shape.cluster = static_cast<unsigned>(split.ranks);
  launch("cuda.norm", norm_held<Form>, shape, a);
}

// Where outputs are stored as x is, and so is what is added.
bool dtypes_agree(const NormCall& call) {
  for (const Rows* rows : {&call.residual, &call.add_after, &call.r_out, &call.n_out}) {
    if (rows->present && rows->dtype != call.x.dtype) return false;
  }
  return true;
}

}  // namespace

const char* norm_refusal(const NormCall& call) {
  return dtypes_agree(call) ? nullptr : "rows of several dtypes";
}

void norm(const NormCall& call, const ContextState& context) {
  const DeviceState& device = device_state(context);
  const cudaStream_t stream = stream_of(context);
  NormArgs args = norm_args(call);
  args.split = row_split(call.h, device.clusters);
  bool vector = args.x.vector;
  for (const RowsArg* rows : {&args.residual, &args.add_after, &args.r_out, &args.n_out}) {
    vector = vector && (rows->data == nullptr || rows->vector);
  }
  bool reads = !call.bias.present;
  for (const Rows* rows : {&call.residual, &call.r_out, &call.n_out}) {
    reads = reads && !rows->present;
  }
  if (reads) args.weight = args.norm_bias = {};
  dispatch_type(call.x.dtype, [&](auto type) {
    using T = decltype(type);
    if (args.split.ranks == 0) {
      LaunchShape shape{grid_of(call.m), long_threads, stream};
      shape.programmatic = device.programmatic;
      return launch("cuda.norm", norm_long<T>, shape, args);
    }
    with_form<T>(args.split, vector, reads,
                 [&](auto form) { launch_held<decltype(form)>(args, device, stream); });
  });
}

void load_norm() {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    dispatch_type(dtype, [](auto type) {
      using T = decltype(type);
      load_kernel(norm_long<T>);
      for (const std::int64_t h : {1, 8, 1025, 1032, 8193, 8200}) {
        for (const bool reads : {false, true}) {
          const auto load = [](auto form) {
            load_kernel(norm_held<decltype(form)>, most_staged_bytes);
          };
          with_form<T>(row_split(h, true), true, reads, load);
          if (!reads) with_form<T>(row_split(h, true), false, reads, load);
        }
      }
    });
  }
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
