// Dot products of a weight row of any dtype with a few fp32 rows of x, reading the weight once.
#pragma once

#include "cpu/isa/convert.hpp"
#include "cpu/isa/tile_ops.hpp"

namespace postlude {
namespace detail {
namespace {

template <int rows>
inline void dot_rows(const void* w, DType dtype, const float* x, std::int64_t ldx, std::int64_t k,
                     float* out) {
  alignas(64) float lanes[rows][chunk] = {};
  const char* bytes = static_cast<const char*>(w);
  const auto size = static_cast<std::int64_t>(size_of(dtype));
  std::int64_t i = 0;
  const auto add = [&](const float* values, int count) {
    for (int r = 0; r < rows; ++r) {
      const float* xr = x + r * ldx + i;
      for (int j = 0; j < count; ++j) lanes[r][j] += values[j] * xr[j];
    }
  };
  for (; i + chunk <= k; i += chunk) {
    alignas(64) float values[chunk];
    load_chunk(bytes + i * size, dtype, values, chunk);
    add(values, chunk);
  }
  if (i < k) {
    alignas(64) float values[chunk];
    load_chunk(bytes + i * size, dtype, values, static_cast<int>(k - i));
    add(values, static_cast<int>(k - i));
  }
  for (int r = 0; r < rows; ++r) out[r] = fold_lanes(lanes[r]);
}

void dot(const void* w, DType dtype, const DotRows& x, std::int64_t k, float* out) {
  switch (x.rows) {
    case 1:
      return dot_rows<1>(w, dtype, x.data, x.ld, k, out);
    case 2:
      return dot_rows<2>(w, dtype, x.data, x.ld, k, out);
    case 3:
      return dot_rows<3>(w, dtype, x.data, x.ld, k, out);
    default:
      return dot_rows<4>(w, dtype, x.data, x.ld, k, out);
  }
}

}  // namespace
}  // namespace detail
}  // namespace postlude
