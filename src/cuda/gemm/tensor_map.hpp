// Tensor maps: what the TMA unit is told of a matrix in memory, encoded by the driver.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "postlude/tensor_view.hpp"

namespace postlude {
namespace detail {
namespace cuda {

// A matrix of floats whose lines have stride 1 and which is read in boxes of 128 bytes of
// `box_lines` lines, with the 128-byte swizzle that wgmma expects. Lines and elements past the end
// read as 0.
struct TiledMatrix {
  const void* data = nullptr;
  DType dtype = DType::bf16;
  std::int64_t length = 0;  // of a line
  std::int64_t lines = 0;
  std::int64_t stride = 0;  // elements between lines, a multiple of 16 bytes
  int box_lines = 0;
};

CUtensorMap tensor_map(const TiledMatrix& matrix);

// A gated weight of 2 * lines rows, as boxes of box_lines in groups of 16: 8 rows of the first half
// of `data`, then the 8 rows that lie `half_distance` elements behind them. lines is a multiple of
// 8, box_lines of 16.
CUtensorMap interleaved_tensor_map(const TiledMatrix& half, std::int64_t half_distance);

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
