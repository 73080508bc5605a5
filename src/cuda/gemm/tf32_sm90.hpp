// The Hopper GEMM for fp32: its arguments, and what launches each tile.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/epilogue/chunk.cuh"

namespace postlude {
namespace detail {
namespace cuda {

inline constexpr int tf32_sm90_tile_k = 32;
inline constexpr int tf32_sm90_max_split = 8;

struct Tf32Sm90Args {
  CUtensorMap x;
  CUtensorMap weight;
  const float* x_data = nullptr;
  std::int64_t x_stride = 0;
  const float* weight_data = nullptr;
  std::int64_t weight_stride_n = 0;
  std::int64_t weight_stride_k = 0;
  std::int64_t k = 0;
  int k_tiles = 0;
  int tiles_m = 0;
  int tiles_n = 0;
  int raster = 8;  // row tiles that go through the columns together
  int split = 1;   // parts of k, one a block of the cluster
  EpilogueLoop loop = EpilogueLoop::general;
  EpilogueArgs epilogue;
};

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
