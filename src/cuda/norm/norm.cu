// LayerNorm, RMSNorm and plain sums over rows, or their statistics alone, in fp32: each stored
// tensor is rounded once.
#include "cuda/device.hpp"
#include "cuda/launch.cuh"
#include "cuda/norm/held_row.cuh"
#include "cuda/norm/norm.hpp"

namespace postlude {
namespace detail {
namespace cuda {
namespace {

constexpr int long_threads = 1024;  // of rows too long for registers

// Rows that fit into registers: a block has a few, or one.
template <class Form>
__global__ void __launch_bounds__(Form::threads, Form::resident / Form::threads)
    norm_held(const __grid_constant__ NormArgs a) {
  using T = typename Form::Type;
  constexpr int width = Form::width;
  __shared__ WarpSums of_warp[Form::narrow ? 1 : 32];
  release_successor();
  if (a.n_out.present() && blockIdx.x == 0) prefetch_vectors(a, threadIdx.x, blockDim.x);
  await_predecessor();
  auto seat = Seat<Form>::of(a.split, a.first_row, a.m, static_cast<int>(a.h));
  const RowPath<Form> path(seat);
  HeldRow<Form> row{seat};
  row.load(a, path);
  if (Form::adds && a.r_out.present()) {
#pragma unroll
    for (int i = 0; i < held_runs; ++i) {
      if (Form::aligned && !seat.active(i)) continue;
      float r[width];
      row.get(i, r);
      path.store(a.r_out, i, pack<T>(r));
    }
  }
  const RowTeam team{seat.lanes, Form::narrow ? 1 : a.split.warps, seat.warp,
                     seat.columns_of_warp(), of_warp};
  const Statistics s =
      row_statistics<exact_mean<T>>(a.kind, a.inverse_h, a.eps, team, HeldValues<Form>{row});
  if (seat.column == 0 && seat.limit > 0) store_statistics(a, s, seat.row);
  if (!a.n_out.present()) return;
  switch (usual<T>(a)) {
    case Usual::rms:
      return store_normalised<Usual::rms>(a, s, path, row);
    case Usual::layer:
      return store_normalised<Usual::layer>(a, s, path, row);
    default:
      return store_normalised<Usual::none>(a, s, path, row);
  }
}

// What one thread has summed up of a long row, about the mean of its first columns.
struct LongValues {
  float center = 0.0f, all = 0.0f, all_squares = 0.0f, count = 0.0f;

  __device__ float squares() const { return all_squares; }
  __device__ float sum() const { return fmaf(count, center, all); }
  __device__ float2 about(float c) const {
    const float shift = center - c;
    const float sum = fmaf(count, shift, all);
    return make_float2(sum, fmaf(shift, all + sum, all_squares));
  }
};

// The columns of one run of a long row.
template <class T>
struct Span {
  static constexpr int width = run_columns<T>;
  std::int64_t column;
  int count;

  __device__ Span(std::int64_t column, std::int64_t h)
      : column(column), count(static_cast<int>(min(h - column, std::int64_t{width}))) {}

  __device__ void load(const RowsArg& rows, std::int64_t row, float (&values)[width]) const {
    const Run<T, width> run = rows.load<T, width>(row, column, count);
    unpack(run, values);
  }
  __device__ void load(const VectorArg& vector, float (&values)[width]) const {
    vector.load_floats(column, count, values);
  }
  __device__ void store(const RowsArg& rows, std::int64_t row, const float (&values)[width]) const {
    rows.store_floats(row, column, count, values);
  }
  // r = x (+ residual) (+ bias), zeros beyond the row's end.
  __device__ void load_sum(const NormArgs& a, std::int64_t row, float (&r)[width]) const {
    float other[width];
    load(a.x, row, r);
    if (a.residual.present()) {
      load(a.residual, row, other);
      add(r, other);
    }
    if (a.bias.present()) {
      load(a.bias, other);
      add(r, other);
    }
  }
};

// Longer rows, one a block: each is read twice.
template <class T>
__global__ void __launch_bounds__(long_threads, 1) norm_long(const __grid_constant__ NormArgs a) {
  constexpr int width = run_columns<T>;
  constexpr std::int64_t step = std::int64_t{long_threads} * width;
  __shared__ WarpSums of_warp[32];
  release_successor();
  await_predecessor();
  const std::int64_t row = a.first_row + blockIdx.x;
  const std::int64_t first = static_cast<std::int64_t>(threadIdx.x) * width;
  LongValues values;
#pragma unroll 2
  for (std::int64_t column = first; column < a.h; column += step) {
    const Span<T> span(column, a.h);
    float r[width];
    span.load_sum(a, row, r);
    if (column == first && a.kind == NormKind::layer) {
#pragma unroll
      for (int e = 0; e < width; ++e) values.center += r[e] / width;
    }
#pragma unroll
    for (int e = 0; e < width; ++e) {
      const float d = e < span.count ? r[e] - values.center : 0.0f;
      values.all += d;
      values.all_squares = fmaf(d, d, values.all_squares);
    }
    values.count += static_cast<float>(span.count);
  }
  // All of a warp's columns.
  int count = static_cast<int>(values.count);
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    count += __shfl_xor_sync(0xffffffffu, count, distance);
  }
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const RowTeam team{32, long_threads / 32, warp, count, of_warp};
  const Statistics s = row_statistics<exact_mean<T>>(a.kind, a.inverse_h, a.eps, team, values);
  if (threadIdx.x == 0) store_statistics(a, s, row);
  if (!a.r_out.present() && !a.n_out.present()) return;
  // All that is read at these columns is read before anything is written there, as the outputs may
  // be the inputs.
#pragma unroll 2
  for (std::int64_t column = first; column < a.h; column += step) {
    const Span<T> span(column, a.h);
    float r[width], n[width], other[width];
    span.load_sum(a, row, r);
#pragma unroll
    for (int e = 0; e < width; ++e) n[e] = r[e];
    normalise<exact_mean<T>, Usual::none>(
        a, s, n, [&](const VectorArg& vector, float (&to)[width]) { span.load(vector, to); });
    if (a.add_after.present()) {
      span.load(a.add_after, row, other);
      add(n, other);
    }
    if (a.r_out.present()) span.store(a.r_out, row, r);
    if (a.n_out.present()) span.store(a.n_out, row, n);
  }
}

// Calls function(Form()).
template <class T, bool Aligned, bool Adds, class Function>
void with_form(bool narrow, Function&& function) {
  narrow ? function(RowForm<T, true, Aligned, Adds>())
         : function(RowForm<T, false, Aligned, Adds>());
}

template <class T, class Function>
void with_form(bool narrow, bool aligned, bool adds, Function&& function) {
  if (aligned) {
    adds ? with_form<T, true, true>(narrow, function) : with_form<T, true, false>(narrow, function);
  } else {
    adds ? with_form<T, false, true>(narrow, function)
         : with_form<T, false, false>(narrow, function);
  }
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
  NormArgs a = norm_args(call);
  const bool adds = call.residual.present || call.bias.present || call.r_out.present;
  LaunchShape shape;
  shape.stream = stream_of(context);
  shape.programmatic = device.programmatic;
  // More than one launch only of more rows than a grid has blocks.
  const auto launch_all = [&](auto kernel, int rows) {
    for (; a.first_row < a.m; a.first_row += std::int64_t{shape.blocks} * rows) {
      shape.blocks = grid_of((a.m - a.first_row + rows - 1) / rows);
      launch("cuda.norm", kernel, shape, a);
    }
  };
  dispatch_type(call.x.dtype, [&](auto type) {
    using T = decltype(type);
    a.split = row_split<T>(call.h);
    if (a.split.warps == 0) {
      shape.threads = long_threads;
      return launch_all(norm_long<T>, 1);
    }
    shape.threads = static_cast<unsigned>(a.split.threads());
    const bool aligned = all_aligned(a, run_columns<T>);
    if (!aligned) shape.shared_bytes = shape.threads * sizeof(uint4);
    with_form<T>(a.split.lanes < 32, aligned, adds,
                 [&](auto form) { launch_all(norm_held<decltype(form)>, a.split.rows); });
  });
}

void load_norm() {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    dispatch_type(dtype, [](auto type) {
      using T = decltype(type);
      load_kernel(norm_long<T>);
      for (int bits = 0; bits < 8; ++bits) {
        with_form<T>((bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0,
                     [](auto form) { load_kernel(norm_held<decltype(form)>); });
      }
    });
  }
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
