// Copies and quantisation of plain matrices on the CPU: see matrix.hpp.
#include "cpu/matrix.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/isa/tile_ops.hpp"
#include "cpu/threads.hpp"

namespace postlude {
namespace detail {
namespace {

double copy_microseconds(std::int64_t elements, DType dtype) {
  return static_cast<double>(elements) * static_cast<double>(size_of(dtype)) / 5e3;
}

std::int64_t offset(const TensorView& v, std::int64_t n, std::int64_t k) {
  return ((v.size(0) > 1 ? n * v.stride(0) : 0) + (v.size(1) > 1 ? k * v.stride(1) : 0)) *
         static_cast<std::int64_t>(size_of(v.dtype()));
}

// One weight as fp32.
float element(const TensorView& v, std::int64_t n, std::int64_t k) {
  float value;
  tile_ops().convert(static_cast<const char*>(v.data()) + offset(v, n, k), v.dtype(), &value,
                     DType::f32, 1, 1.0f);
  return value;
}

struct Block {
  std::int64_t n_begin, n_end, k_begin, k_end;
};

// A group that holds NaN: its scale is NaN, and so is all that is made of it.
float quantize_nan(const TensorView& weight, const Block& b, std::int8_t* q) {
  for (std::int64_t n = b.n_begin; n < b.n_end; ++n) {
    for (std::int64_t k = b.k_begin; k < b.k_end; ++k) q[n * weight.size(1) + k] = 0;
  }
  return std::numeric_limits<float>::quiet_NaN();
}

float quantize_block(const TensorView& weight, const Block& b, std::int8_t* q) {
  float largest = 0.0f;
  for (std::int64_t n = b.n_begin; n < b.n_end; ++n) {
    for (std::int64_t k = b.k_begin; k < b.k_end; ++k) {
      const float magnitude = std::fabs(element(weight, n, k));
      if (!(magnitude <= largest)) largest = magnitude;
      if (std::isnan(largest)) return quantize_nan(weight, b, q);
    }
  }
  const float scale = largest / 127.0f;
  for (std::int64_t n = b.n_begin; n < b.n_end; ++n) {
    for (std::int64_t k = b.k_begin; k < b.k_end; ++k) {
      const float ratio = scale > 0.0f ? element(weight, n, k) / scale : 0.0f;
      const float steps =
          std::isnan(ratio) ? 0.0f : std::nearbyintf(ratio);  // infinity over infinity
      q[n * weight.size(1) + k] =
          static_cast<std::int8_t>(std::min(std::max(steps, -127.0f), 127.0f));
    }
  }
  return scale;
}

}  // namespace

void copy_plain_rows(const Rows& from, const Rows& to, std::int64_t m, std::int64_t h) {
  if (h == 0) return;  // pointers may be null
  const std::size_t bytes = static_cast<std::size_t>(h) * size_of(from.dtype);
  for_each_item(m, copy_microseconds(m * h, from.dtype),
                [&](std::int64_t i) { std::memcpy(to.row(i), from.row(i), bytes); });
}

void copy_plain_matrix(const TensorView& from, const TensorView& to) {
  const std::int64_t n = from.size(0);
  const std::int64_t k = from.size(1);
  if (k == 0) return;  // pointers may be null
  const std::size_t size = size_of(from.dtype());
  const auto contiguous = [](const TensorView& v) { return v.size(1) <= 1 || v.stride(1) == 1; };
  const bool rows = contiguous(from) && contiguous(to);
  for_each_item(n, copy_microseconds(n * k, from.dtype()), [&](std::int64_t i) {
    const char* source = static_cast<const char*>(from.data());
    char* target = static_cast<char*>(to.data());
    if (rows) {
      std::memcpy(target + offset(to, i, 0), source + offset(from, i, 0),
                  static_cast<std::size_t>(k) * size);
    } else {
      for (std::int64_t j = 0; j < k; ++j) {
        std::memcpy(target + offset(to, i, j), source + offset(from, i, j), size);
      }
    }
  });
}

void quantize_matrix(const TensorView& weight, const QuantizeOptions& options, const TensorView& q,
                     const TensorView& scales) {
  const std::int64_t n = weight.size(0);
  const std::int64_t k = weight.size(1);
  const bool by_rows = options.grouping == Grouping::rows;
  const std::int64_t parts = by_rows ? options.groups : k / options.group_size;
  auto* values = static_cast<std::int8_t*>(q.data());
  auto* scale = static_cast<float*>(scales.data());
  const double microseconds = static_cast<double>(n) * static_cast<double>(k) / 100.0;
  if (k == 0) {  // however many rows of nothing there are
    if (by_rows) std::fill_n(scale, parts, 0.0f);
  } else if (by_rows) {
    const std::int64_t rows = n / parts;
    for_each_item(parts, microseconds, [&](std::int64_t g) {
      scale[g] = quantize_block(weight, {g * rows, (g + 1) * rows, 0, k}, values);
    });
  } else {
    for_each_item(n, microseconds, [&](std::int64_t i) {
      for (std::int64_t g = 0; g < parts; ++g) {
        const std::int64_t begin = g * options.group_size;
        scale[i * parts + g] =
            quantize_block(weight, {i, i + 1, begin, begin + options.group_size}, values);
      }
    });
  }
}

}  // namespace detail
}  // namespace postlude
