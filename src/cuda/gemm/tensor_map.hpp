// Tensor maps: what the TMA unit is told of a matrix in memory, encoded by the driver.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <string>

#include "postlude/error.hpp"
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

// What is thrown where the driver refuses a matrix with an error.
inline CudaError refused_map(const TiledMatrix& m, int error) {
  return CudaError("cuTensorMapEncodeTiled refused a matrix of " + std::to_string(m.lines) +
                       " lines of " + std::to_string(m.length) + " elements, stride " +
                       std::to_string(m.stride) + ": error " + std::to_string(error),
                   error);
}

// Whether TMA reads `lines` lines of a dtype from data on, `stride` elements apart. A single line's
// stride is not looked at.
inline bool tma_reads(const void* data, std::int64_t lines, std::int64_t stride, DType dtype) {
  const auto bytes = static_cast<std::int64_t>(size_of(dtype));
  return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 &&
         (lines <= 1 || (stride > 0 && stride * bytes % 16 == 0));
}

// The stride to encode: that of several lines, or one that TMA accepts for a single line.
inline std::int64_t tma_stride(std::int64_t lines, std::int64_t stride, std::int64_t length,
                               DType dtype) {
  const std::int64_t piece = 16 / static_cast<std::int64_t>(size_of(dtype));
  return lines > 1 ? stride : (length + piece - 1) / piece * piece;
}

// A gated weight of 2 * lines rows, as boxes of box_lines in groups of 16: 8 rows of the first half
// of `data`, then the 8 rows that lie `half_distance` elements behind them. lines is a multiple of
// 8, box_lines of 16.
CUtensorMap interleaved_tensor_map(const TiledMatrix& half, std::int64_t half_distance);

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
