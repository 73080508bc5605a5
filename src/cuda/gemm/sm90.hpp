// The Hopper GEMMs (TMA, wgmma, warp-specialised): their arguments, and what launches each tile.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>
#include <cutlass/fast_math.h>

#include <cstdint>

#include "cuda/epilogue/chunk.cuh"
#include "cuda/norm/held_row.cuh"

namespace postlude {
namespace detail {
namespace cuda {

struct Sm90Args {
  CUtensorMap x;
  CUtensorMap weight;
  int k_tiles = 0;  // block kernel: stages of k
  int tiles = 0;    // of clusters
  int tiles_m = 0;  // row tiles of clusters
  int clusters = 0;
  cutlass::FastDivmod group_tiles;  // the tiles of a group of row tiles
  cutlass::FastDivmod raster;       // row tiles that go through the columns together: a group
  cutlass::FastDivmod last_rows;    // those of the last group
  int split = 1;                    // block kernel: parts of k, one a block of the cluster
  int stages = 0;                   // block kernel: tiles of x and weight in shared memory at once
  bool weight_ahead = false;  // block kernel: the weight may be read before the kernel ahead ends
  bool weight_once = false;   // no two blocks read the same part of the weight
  EpilogueLoop loop = EpilogueLoop::general;
  EpilogueArgs epilogue;
  // Swapped block kernel of 8 rows: x is the norm of these rows, kept in so many bytes of shared
  // memory; 0: x comes from memory.
  int norm_bytes = 0;
  NormArgs norm;
};

struct Sm90Launch {
  DType dtype = DType::bf16;
  unsigned blocks = 0;  // a multiple of the cluster
  bool programmatic = false;
  cudaStream_t stream = nullptr;
};

inline constexpr int sm90_tile_k = 64;
inline constexpr int sm90_max_stages = 16;
// The tile of the swapped kernel that can normalise x itself, and the most warps that share a row.
inline constexpr int sm90_norm_rows = 8;
inline constexpr int sm90_norm_slots = 64;
inline constexpr int sm90_norm_warps = 2;
// Tiles of k in a stage of the block kernel with swapped operands: two, where both are small.
constexpr int sm90_swap_depth(int rows, int slots) { return rows + slots <= 112 ? 2 : 1; }
// Of the block kernel's shared memory: barriers, bias and row scales, and what alignment takes.
inline constexpr int sm90_header_bytes = 5120;

// Ping-pong: persistent blocks, tiles of 128 rows by Slots slots, two warpgroups each on a tile of
// its own; clusters of `Cluster` row tiles share the weight tile. See sm90_pingpong.cuh.
template <int Slots, int Cluster>
struct Sm90PingPong {
  static constexpr int rows = 128;
  static void launch(const Sm90Args& args, const Sm90Launch& shape);
  static void load();
};

// Block: one tile of Rows by Slots a block, all its warpgroups on it; `Cluster` blocks share x,
// args.split blocks share k. Swap: the weight is wgmma's first operand, in parts of 64 slots, and x
// the second, of 8 to 256 rows. See sm90_block.cuh.
template <int Rows, int Slots, int Cluster, bool Swap>
struct Sm90Block {
  static constexpr int depth = Swap ? sm90_swap_depth(Rows, Slots) : 1;
  static constexpr int stage_bytes = 2 * (Rows + Slots) * sm90_tile_k * depth;
  // What the tile's sums need at the end, in the memory of the stages.
  static constexpr int sums_bytes = 4 * Rows * (Slots + 8);
  static constexpr int shared_bytes(int stages, int norm_bytes) {
    return sm90_header_bytes + norm_bytes +
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
