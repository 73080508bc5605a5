// RowsArg, VectorArg and ScaleArg: the core's Rows and Vector as kernels take them, with what their
// addresses allow.
#pragma once

#include <cstdint>

#include "cuda/convert.cuh"
#include "problem.hpp"

namespace postlude {
namespace detail {
namespace cuda {

// Elements that a thread handles at once; runs start at multiples of it.
inline constexpr int run_width = 8;

inline bool is_aligned(const void* data) {
  return reinterpret_cast<std::uintptr_t>(data) % 16 == 0;
}

// Rows of a float dtype; absent where data is null. vector: each starts at a multiple of 16 bytes.
struct RowsArg {
  void* data = nullptr;
  std::int64_t stride = 0;
  DType dtype = DType::f32;
  bool vector = false;

  __device__ bool present() const { return data != nullptr; }

  // Where the type is known at compile time: loads that need not wait for a branch.
  template <class T, int Width = run_width>
  __device__ Run<T, Width> load(std::int64_t row, std::int64_t column, int count) const {
    Run<T, Width> run;
    run.load(static_cast<const T*>(data) + row * stride + column, count, vector);
    return run;
  }

  template <int Width>
  __device__ void load_floats(std::int64_t row, std::int64_t column, int count,
                              float (&values)[Width]) const {
    cuda::load_floats(data, dtype, row * stride + column, count, vector, values);
  }

  template <int Width>
  __device__ void store_floats(std::int64_t row, std::int64_t column, int count,
                               const float (&values)[Width]) const {
    cuda::store_floats(data, dtype, row * stride + column, count, vector, values);
  }
};

// `m` is the number of rows: the stride of a single one is not looked at, so that one row of a
// matrix is treated as all of them are.
inline RowsArg rows_arg(const Rows& rows, std::int64_t m) {
  if (!rows.present) return {};
  const auto pitch = rows.stride * static_cast<std::int64_t>(size_of(rows.dtype));
  return {rows.data, m > 1 ? rows.stride : 0, rows.dtype,
          is_aligned(rows.data) && (m <= 1 || pitch % 16 == 0)};
}

// A vector of a float dtype with stride 1; absent where data is null. vector: it starts at a
// multiple of 16 bytes.
struct VectorArg {
  const void* data = nullptr;
  DType dtype = DType::f32;
  bool vector = false;

  __device__ bool present() const { return data != nullptr; }

  template <int Width>
  __device__ void load_floats(std::int64_t index, int count, float (&values)[Width]) const {
    cuda::load_floats(data, dtype, index, count, vector && index % Width == 0, values);
  }
};

inline VectorArg vector_arg(const Vector& vector) {
  if (!vector.present) return {};
  return {vector.data, vector.dtype, is_aligned(vector.data)};
}

// A vector of f32 with stride 1, or one value for all; absent where data is null.
struct ScaleArg {
  const float* data = nullptr;
  bool scalar = false;

  __device__ bool present() const { return data != nullptr; }
  __device__ float at(std::int64_t index) const { return data[scalar ? 0 : index]; }
};

inline ScaleArg scale_arg(const Vector& vector) {
  if (!vector.present) return {};
  return {static_cast<const float*>(vector.data), vector.scalar};
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
