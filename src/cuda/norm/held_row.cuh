// Norms of rows that threads hold in registers: arguments, statistics and the normalised values,
// for the norm kernels and for a GEMM that normalises its own rows.
#pragma once

#include "cuda/norm/row_runs.cuh"
#include "cuda/norm/statistics.cuh"

namespace postlude {
namespace detail {
namespace cuda {

struct NormArgs {
  std::int64_t m = 0;
  std::int64_t h = 0;
  std::int64_t first_row = 0;
  float inverse_h = 0.0f;
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
};

inline NormArgs norm_args(const NormCall& call) {
  NormArgs a;
  a.m = call.m;
  a.h = call.h;
  a.inverse_h = 1.0f / static_cast<float>(call.h);
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

// Whether all that is read and written allows 16 bytes at a time.
inline bool all_aligned(const NormArgs& a, int width) {
  bool aligned = a.h % width == 0;
  for (const RowsArg* rows : {&a.x, &a.residual, &a.add_after, &a.r_out, &a.n_out}) {
    aligned = aligned && (rows->data == nullptr || rows->vector);
  }
  for (const VectorArg* vector : {&a.bias, &a.weight, &a.norm_bias}) {
    aligned = aligned && (vector->data == nullptr || vector->vector);
  }
  return aligned;
}

// Asks for the norm's vectors, so that they lie in L2 when they are read. `thread` is one of
// `threads` of the block. May come before await_predecessor(): what is written later is still seen.
__device__ inline void prefetch_vectors(const NormArgs& a, int thread, int threads) {
  constexpr int line = 128;
  for (const VectorArg* vector : {&a.weight, &a.norm_bias, &a.bias}) {
    if (!vector->present()) continue;
    const int bytes = static_cast<int>(a.h) * (vector->dtype == DType::f32 ? 4 : 2);
    for (int at = thread * line; at < bytes; at += threads * line) {
      asm volatile("prefetch.global.L2 [%0];" ::"l"(static_cast<const char*>(vector->data) + at));
    }
  }
}

// Where the rounding of the mean can be seen in what is stored.
template <class T>
constexpr bool exact_mean = sizeof(T) == 4;

__device__ inline void store_statistics(const NormArgs& a, const Statistics& s, std::int64_t row) {
  if (a.rstd_out != nullptr) a.rstd_out[row] = s.rstd;
  if (a.mean_out != nullptr) a.mean_out[row] = s.mean + s.correction;
}

template <int Width>
__device__ inline void add(float (&sum)[Width], const float (&other)[Width]) {
#pragma unroll
  for (int i = 0; i < Width; ++i) sum[i] += other[i];
}

// The usual norms, of which the kernels know at compile time what there is: RMSNorm has a weight,
// LayerNorm a bias as well, all in the rows' dtype. Nothing is added, neither to the weight nor
// after the norm.
enum class Usual { none, rms, layer };

template <class T>
__device__ inline Usual usual(const NormArgs& a) {
  constexpr DType dtype = dtype_of<T>();
  if (a.add_after.present() || a.weight_offset != 0.0f) return Usual::none;
  if (!a.weight.present() || a.weight.dtype != dtype) return Usual::none;
  if (a.kind == NormKind::rms) return Usual::rms;
  return a.norm_bias.present() && a.norm_bias.dtype == dtype ? Usual::layer : Usual::none;
}

// n = norm(r). load(vector, values) reads the run's columns of a vector. Each rounding is written
// out, so that the compiler gives all forms of the kernel the same bits.
template <bool Exact, Usual Is, int Width, class Load>
__device__ inline void normalise(const NormArgs& a, const Statistics& s, float (&n)[Width],
                                 Load&& load) {
  float weight[Width], bias[Width];
#pragma unroll
  for (int i = 0; i < Width; ++i) {
    if (Is != Usual::rms) n[i] = __fsub_rn(n[i], s.mean);
    if (Is != Usual::rms && Exact) n[i] = __fsub_rn(n[i], s.correction);
    n[i] = __fmul_rn(n[i], s.rstd);
    weight[i] = 1.0f;
  }
  if (Is != Usual::none || a.weight.present()) load(a.weight, weight);
  if (Is == Usual::none && a.weight_offset != 0.0f) {
#pragma unroll
    for (int i = 0; i < Width; ++i) weight[i] = __fadd_rn(weight[i], a.weight_offset);
  }
  if (Is == Usual::layer || (Is == Usual::none && a.norm_bias.present())) {
    load(a.norm_bias, bias);
#pragma unroll
    for (int i = 0; i < Width; ++i) n[i] = fmaf(n[i], weight[i], bias[i]);
  } else {
#pragma unroll
    for (int i = 0; i < Width; ++i) n[i] = __fmul_rn(n[i], weight[i]);
  }
}

// A thread's columns of a row: as they lie in memory, or the sums that they are part of.
template <class Form>
struct HeldRow {
  using T = typename Form::Type;
  static constexpr int width = Form::width;

  Seat<Form>& seat;
  uint4 packed[Form::adds ? 1 : held_runs];
  float sums[Form::adds ? held_runs : 1][width];

  __device__ void load(const NormArgs& a, const RowPath<Form>& path) {
    if constexpr (!Form::adds) {
      path.load(a.x, packed);
    } else {
      uint4 x[held_runs], residual[held_runs];
      path.load(a.x, x);
      if (a.residual.present()) path.load(a.residual, residual);
#pragma unroll
      for (int i = 0; i < held_runs; ++i) unpack<T>(x[i], sums[i]);
      if (a.residual.present()) {
#pragma unroll
        for (int i = 0; i < held_runs; ++i) {
          float other[width];
          unpack<T>(residual[i], other);
          add(sums[i], other);
        }
      }
      if (a.bias.present()) {
#pragma unroll
        for (int i = 0; i < held_runs; ++i) {
          if (!seat.active(i)) continue;
          float other[width];
          load_vector<Form, false>(a.bias, seat.column_of(i), seat.count(i), other);
          add(sums[i], other);
        }
      }
    }
  }

  __device__ void get(int i, float (&values)[width]) const {
    if constexpr (Form::adds) {
#pragma unroll
      for (int e = 0; e < width; ++e) values[e] = sums[i][e];
    } else {
      unpack<T>(packed[i], values);
    }
  }

  // Lets no fp32 copies of packed values live on from one pass over them to the next.
  __device__ void forget_copies() {
    seat.forget();
    if constexpr (!Form::adds && sizeof(T) == 2) {
#pragma unroll
      for (uint4& p : packed) asm volatile("" : "+r"(p.x), "+r"(p.y), "+r"(p.z), "+r"(p.w));
    }
  }
};

// The values of a held row for row_statistics.
template <class Form, class Row = HeldRow<Form>>
struct HeldValues {
  static constexpr int width = Form::width;
  Row& row;

  __device__ float squares() const {
    float all = 0.0f;
#pragma unroll
    for (int i = 0; i < held_runs; ++i) {
      float r[width], sum = 0.0f;
      row.get(i, r);
#pragma unroll
      for (int e = 0; e < width; ++e) sum = fmaf(r[e], r[e], sum);
      all += sum;
    }
    row.forget_copies();
    return all;
  }

  __device__ float sum() const {
    float all = 0.0f;
#pragma unroll
    for (int i = 0; i < held_runs; ++i) {
      float r[width];
      row.get(i, r);
#pragma unroll
      for (int step = 1; step < width; step *= 2) {
#pragma unroll
        for (int e = 0; e < width; e += 2 * step) r[e] += r[e + step];
      }
      all += r[0];
    }
    row.forget_copies();
    return all;
  }

  __device__ float2 about(float center) const {
    float2 all = make_float2(0.0f, 0.0f);
#pragma unroll
    for (int i = 0; i < held_runs; ++i) {
      if (!row.seat.active(i)) continue;
      float r[width];
      row.get(i, r);
      float2 v = make_float2(0.0f, 0.0f);
#pragma unroll
      for (int e = 0; e < width; ++e) {
        float d = r[e] - center;
        if (!Form::aligned && e >= row.seat.count(i)) d = 0.0f;
        v.x += d;
        v.y = fmaf(d, d, v.y);
      }
      all.x += v.x;
      all.y += v.y;
    }
    row.forget_copies();
    return all;
  }
};

template <Usual Is, class Form>
__device__ inline void store_normalised(const NormArgs& a, const Statistics& s,
                                        const RowPath<Form>& path, const HeldRow<Form>& row) {
  using T = typename Form::Type;
  constexpr int width = Form::width;
#pragma unroll
  for (int i = 0; i < held_runs; ++i) {
    if (Form::aligned && !row.seat.active(i)) continue;
    float n[width];
    row.get(i, n);
    normalise<exact_mean<T>, Is>(a, s, n, [&](const VectorArg& vector, float (&values)[width]) {
      load_vector<Form, Is != Usual::none>(vector, row.seat.column_of(i), row.seat.count(i),
                                           values);
    });
    if (Is == Usual::none && a.add_after.present()) {
      uint4 after[1];
      float other[width];
      path.load(a.add_after, after, i);
      unpack<T>(after[0], other);
      add(n, other);
    }
    path.store(a.n_out, i, pack<T>(n));
  }
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
