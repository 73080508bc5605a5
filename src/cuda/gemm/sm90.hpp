// The Hopper GEMMs (TMA, wgmma, warp-specialised): their arguments, and what launches each tile.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>
#include <cutlass/fast_math.h>

#include <cstdint>

#include "cuda/epilogue/chunk.cuh"

namespace postlude {
namespace detail {
namespace cuda {

struct Sm90Args {
  CUtensorMap x;
  CUtensorMap weight;
  int k_tiles = 0;
  int tiles = 0;    // of clusters
  int tiles_m = 0;  // row tiles of clusters
  int clusters = 0;
  cutlass::FastDivmod group_tiles;  // the tiles of a group of row tiles
  cutlass::FastDivmod raster;       // row tiles that go through the columns together: a group
  cutlass::FastDivmod last_rows;    // those of the last group
  int split = 1;                    // block kernel: parts of k, one a block of the cluster
  int stages = 0;                   // block kernel: tiles of x and weight in shared memory at once
  bool weight_ahead = false;  // block kernel: the weight may be read before the kernel ahead ends
  EpilogueLoop loop = EpilogueLoop::general;
  EpilogueArgs epilogue;
};

struct Sm90Launch {
  DType dtype = DType::bf16;
  unsigned blocks = 0;  // a multiple of the cluster
  bool programmatic = false;
  cudaStream_t stream = nullptr;
};

inline constexpr int sm90_tile_k = 64;
inline constexpr int sm90_max_stages = 16;
// Of the block kernel's shared memory: barriers, bias and row scales, and what alignment takes.
inline constexpr int sm90_header_bytes = 5120;

// Which operand the blocks of a cluster share: each loads a part of its tile for all of them.
enum class Sm90Share : std::uint8_t { weight, x };

// Ping-pong: persistent blocks, tiles of 128 rows by Slots slots, two warpgroups each on a tile of
// its own; clusters of `Cluster` row tiles share the weight tile. See sm90_pingpong.cuh.
template <int Slots, int Cluster>
struct Sm90PingPong {
  static constexpr int rows = 128;
  static void launch(const Sm90Args& args, const Sm90Launch& shape);
  static void load();
};

// Block: one tile of Rows by Slots a block, both warpgroups on it; `Cluster` blocks share an
// operand, args.split blocks share k. See sm90_block.cuh.
template <int Rows, int Slots, int Cluster, Sm90Share Share>
struct Sm90Block {
  static constexpr int rows = Rows;
  static constexpr int stage_bytes = 2 * (Rows + Slots) * sm90_tile_k;
  // What the tile's sums need at the end, in the memory of the stages.
  static constexpr int sums_bytes = 4 * Rows * (Slots + 8);
  static constexpr int shared_bytes(int stages) {
    return sm90_header_bytes +
           (stages * stage_bytes > sums_bytes ? stages * stage_bytes : sums_bytes);
  }
  // Clusters of `size` blocks that the current device runs at once where each block fills a
  // multiprocessor. Once loaded.
  static int clusters_at_once(int size);
  static void launch(const Sm90Args& args, const Sm90Launch& shape);
  static void load();
};

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
