// Conversions between stored elements and fp32, one at a time and in runs of neighbours.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "postlude/tensor_view.hpp"

namespace postlude {
namespace detail {
namespace cuda {

__device__ inline float to_float(float v) { return v; }
__device__ inline float to_float(__nv_bfloat16 v) { return __bfloat162float(v); }
__device__ inline float to_float(__half v) { return __half2float(v); }

// Rounds to the nearest, ties to even; what is too large for f16 becomes an infinity.
template <class T>
__device__ T from_float(float v);
template <>
__device__ inline float from_float<float>(float v) {
  return v;
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float v) {
  return __float2bfloat16_rn(v);
}
template <>
__device__ inline __half from_float<__half>(float v) {
  return __float2half_rn(v);
}

// The float of these bits for tensor cores, which ignore the bits that TF32 lacks: to them it is
// the nearest TF32 number, ties away from zero, as of cvt.rna. What is not finite stays so; a NaN's
// last bits must not carry into its sign.
__device__ inline std::uint32_t nearest_tf32(std::uint32_t v) {
  return fabsf(__uint_as_float(v)) < __uint_as_float(0x7f800000u) ? v + 0x1000u : v;
}

// The DType of a C++ type.
template <class T>
constexpr DType dtype_of() {
  if (sizeof(T) == 4) return DType::f32;
  return std::is_same<T, __half>::value ? DType::f16 : DType::bf16;
}

// Calls function(T()) with the C++ type of a float dtype: a uniform branch.
template <class Function>
__device__ void with_type(DType dtype, Function&& function) {
  if (dtype == DType::f32) {
    function(float());
  } else if (dtype == DType::bf16) {
    function(__nv_bfloat16());
  } else {
    function(__half());
  }
}

// The same on the host, to choose a kernel.
template <class Function>
void dispatch_type(DType dtype, Function&& function) {
  if (dtype == DType::f32) {
    function(float());
  } else if (dtype == DType::bf16) {
    function(__nv_bfloat16());
  } else {
    function(__half());
  }
}

// Width neighbours of a row as they lie in memory. A run moves in pieces of 16 bytes, or as one of
// 8, where it is whole and aligned.
template <class T, int Width>
struct Run {
  static constexpr int bytes = Width * sizeof(T);
  using Piece = std::conditional_t<bytes % 16 == 0, uint4, uint2>;
  static constexpr int pieces = bytes % 8 == 0 ? bytes / static_cast<int>(sizeof(Piece)) : 0;
  alignas(pieces > 0 ? sizeof(Piece) : sizeof(T)) T value[Width];

  // The first `count` of Width elements from `from`, then zeros. vector: `from` is aligned to 16
  // bytes, or to the run's size where that is less.
  __device__ void load(const T* from, int count, bool vector) {
    if (pieces > 0 && vector && count >= Width) {
#pragma unroll
      for (int i = 0; i < pieces; ++i) {
        reinterpret_cast<Piece*>(value)[i] = reinterpret_cast<const Piece*>(from)[i];
      }
      return;
    }
#pragma unroll
    for (int i = 0; i < Width; ++i) value[i] = i < count ? from[i] : from_float<T>(0.0f);
  }

  __device__ void store(T* to, int count, bool vector) const {
    if (pieces > 0 && vector && count >= Width) {
#pragma unroll
      for (int i = 0; i < pieces; ++i) {
        reinterpret_cast<Piece*>(to)[i] = reinterpret_cast<const Piece*>(value)[i];
      }
      return;
    }
#pragma unroll
    for (int i = 0; i < Width; ++i) {
      if (i < count) to[i] = value[i];
    }
  }
};

// `values` = the first `count` of Width elements from base[offset] on, then zeros.
template <int Width>
__device__ void load_floats(const void* base, DType dtype, std::int64_t offset, int count,
                            bool vector, float (&values)[Width]) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    Run<T, Width> run;
    run.load(static_cast<const T*>(base) + offset, count, vector);
#pragma unroll
    for (int i = 0; i < Width; ++i) values[i] = to_float(run.value[i]);
  });
}

// Rounds the first `count` of `values` once and stores them from base[offset] on.
template <int Width>
__device__ void store_floats(void* base, DType dtype, std::int64_t offset, int count, bool vector,
                             const float (&values)[Width]) {
  with_type(dtype, [&](auto type) {
    using T = decltype(type);
    Run<T, Width> run;
#pragma unroll
    for (int i = 0; i < Width; ++i) run.value[i] = from_float<T>(values[i]);
    run.store(static_cast<T*>(base) + offset, count, vector);
  });
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
