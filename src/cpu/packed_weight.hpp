// PackedWeight: a weight cut into column panels, each in the layout that oneDNN reads fastest.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "backend.hpp"

namespace postlude {
namespace detail {

// Columns of a panel, for a product of n output columns a half and k inputs: a pure function of the
// shape, so that a packed weight fits every call. A panel stays near 1 MB (half an L2), and there
// are enough of them to share out.
constexpr std::int64_t panel_columns(std::int64_t n, std::int64_t k, DType dtype) {
  constexpr std::int64_t step = 64;
  constexpr std::int64_t panel_bytes = std::int64_t{1} << 20;
  // Narrow panels starve AMX, which runs 16-bit products; fp32 prefers more panels to share out.
  const std::int64_t smallest = n < 768 && dtype == DType::f32 ? step : 2 * step;
  const std::int64_t wanted = (n / 12 + step - 1) / step * step;
  const std::int64_t row_bytes =
      std::max<std::int64_t>(k, 1) * static_cast<std::int64_t>(size_of(dtype));
  const std::int64_t fitting = std::max(step, panel_bytes / row_bytes / step * step);
  return std::min(fitting, std::clamp(wanted, smallest, 4 * step));
}

// Panels of the first half of the rows, then, where gated, of the second half; the last panel of a
// half may be narrower.
class PackedWeight : public WeightState {
 public:
  std::int64_t columns = 0;       // of a full panel
  std::int64_t half_columns = 0;  // n, or n / 2 where gated
  std::size_t panel_bytes = 0;    // of a full panel
  std::size_t half_bytes = 0;
  // Where every panel is made of blocks of 64 columns, each k groups of 64 (fp32 on AVX-512): bytes
  // from block to block.
  std::size_t block_bytes = 0;

  // The panel that begins with weight row `row`, which must be where one begins.
  const char* panel(std::int64_t row) const {
    const std::int64_t half = half_columns > 0 ? row / half_columns : 0;
    const std::int64_t index = (row - half * half_columns) / columns;
    return static_cast<const char*>(storage[0].get()) +
           static_cast<std::size_t>(half) * half_bytes +
           static_cast<std::size_t>(index) * panel_bytes;
  }
};

}  // namespace detail
}  // namespace postlude
