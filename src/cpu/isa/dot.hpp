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

// The hardware's own prefetching follows the one stream of weights; prefetching by software was
// slower.
template <int rows>
inline void dot_block(const float* w, const float* x, std::int64_t ldx, std::int64_t k, float* out,
                      std::int64_t ld_out) {
  alignas(64) float sums[rows][chunk] = {};
  for (std::int64_t i = 0; i < k; ++i) {
    const float* wi = w + i * chunk;
    for (int r = 0; r < rows; ++r) {
      const float value = x[r * ldx + i];
      for (int j = 0; j < chunk; ++j) sums[r][j] += value * wi[j];
    }
  }
  for (int r = 0; r < rows; ++r) copy_chunk(sums[r], out + r * ld_out);
}

void block_dot(const float* w, const DotRows& x, std::int64_t k, float* out, std::int64_t ld_out) {
  switch (x.rows) {
    case 1:
      return dot_block<1>(w, x.data, x.ld, k, out, ld_out);
    case 2:
      return dot_block<2>(w, x.data, x.ld, k, out, ld_out);
    case 3:
      return dot_block<3>(w, x.data, x.ld, k, out, ld_out);
    default:
      return dot_block<4>(w, x.data, x.ld, k, out, ld_out);
  }
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
