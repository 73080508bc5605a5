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
inline constexpr int tf32_sm90_slots = 128;
inline constexpr int tf32_sm90_box_columns = 32;  // of an [in, out] weight: what the TMA copies
inline constexpr int tf32_sm90_max_split = 8;

struct Tf32Sm90Args {
  CUtensorMap x;
  CUtensorMap weight;
  // The operands again, for the sums that are not finite.
  const float* x_data = nullptr;
  std::int64_t x_stride = 0;
  const float* weight_data = nullptr;
  std::int64_t weight_stride_n = 0;
  std::int64_t weight_stride_k = 0;
  std::int64_t k = 0;
  int k_tiles = 0;
  int tiles_m = 0;
  int tiles_n = 0;
  int raster = 8;                             // row tiles that go through the columns together
  int split = 1;                              // parts of k, one a block of the cluster
  bool one_product = false;                   // of TF32 for each of fp32, instead of three
  EpilogueLoop loop = EpilogueLoop::general;  // any but `scaled`
  EpilogueArgs epilogue;
};

// Tiles of Rows rows by 128 slots, of a weight [out, in] or [in, out]: instances/tf32_sm90_*.cu.
template <int Rows, bool InOut>
struct Tf32Sm90Tile {
  static constexpr int rows = Rows;
  static constexpr bool in_out = InOut;
  // A stage holds a tile of x and two of the weight.
  static constexpr int stage_bytes = 4 * tf32_sm90_tile_k * (Rows + 2 * tf32_sm90_slots);
  static constexpr int stages = 223 * 1024 / stage_bytes;
  static void launch(const Tf32Sm90Args& args, bool programmatic, cudaStream_t stream);
  static void load();
};

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
