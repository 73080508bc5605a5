// The Hopper GEMM (TMA, wgmma, warp-specialised, persistent): its arguments, its tiles and what
// launches each.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/epilogue/epilogue.cuh"

namespace postlude {
namespace detail {
namespace cuda {

struct Sm90Args {
  CUtensorMap x;
  CUtensorMap weight;
  std::int64_t k_tiles = 0;
  std::int64_t tiles_m = 0;  // clusters of row tiles
  std::int64_t tiles_n = 0;
  std::int64_t raster = 1;  // clusters of row tiles that go through the columns together
  EpilogueArgs epilogue;
};

inline constexpr int sm90_rows = 128;
inline constexpr int sm90_tile_k = 64;

// Tiles of 128 rows by Slots slots, Cluster blocks along the rows sharing a weight tile:
// instances/sm90_*.cu.
template <int Slots, int Cluster>
struct Sm90Tile {
  // blocks: a multiple of Cluster.
  static void launch(DType dtype, const Sm90Args& args, unsigned blocks, cudaStream_t stream);
  static void load();
};

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
