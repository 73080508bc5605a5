// The table of problems for which sweeps found a better Hopper tile than the model does.
#pragma once

#include <cstdint>

#include "cuda/gemm/sm90_tiles.hpp"
#include "problem.hpp"

namespace postlude {
namespace detail {
namespace cuda {

struct Sm90Override {
  int up_to;  // rows of x: see sm90_rows_class
  std::int64_t weight_rows;
  std::int64_t k;
  bool gated;
  Sm90Kernel kernel;
  int rows;
  int slots;
  int cluster;
  int split;
};

// The rows of x up to which an entry holds. Where its tile does not suit fewer rows of the class,
// the model chooses for those.
inline std::int64_t sm90_rows_class(std::int64_t m) {
  for (const int up_to : {8, 16, 32, 48, 64, 96}) {
    if (m <= up_to) return up_to;
  }
  return (m + 127) / 128 * 128;
}

// Measured on an H200 (132 multiprocessors): the best choice over the M measured up to so many
// rows. Behind each what it was measured with, and by how much it was faster than what the model
// chose: alone, as benchmarks/cpp/sm90_sweep.cu or postlude tune times it, or in the block, among
// the kernels before and after it, as benchmarks/gpu_tiles.py does. Those of 16 to 96 rows but for
// K = N are older than some tiles and constants of the model.
inline constexpr Sm90Override sm90_overrides[] = {
    // clang-format off
    {8, 1024, 1024, false, Sm90Kernel::swap, 8, 64, 1, 3},  // residual 6 %
    {8, 1024, 4096, false, Sm90Kernel::swap, 8, 64, 1, 4},  // residual, in the block 5 %
    {8, 1600, 1600, false, Sm90Kernel::swap, 8, 128, 1, 4},  // residual 15 %
    {8, 1600, 6400, false, Sm90Kernel::swap, 8, 64, 1, 6},  // residual, in the block 4 %
    {8, 4096, 14336, false, Sm90Kernel::swap, 8, 64, 1, 2},  // residual, in the block 6 %
    {8, 28672, 4096, true, Sm90Kernel::swap, 8, 64, 1, 1},  // gated, in the block 9 %
    {16, 1024, 4096, false, Sm90Kernel::swap, 16, 64, 1, 6},  // residual 3 %
    {16, 1600, 1600, false, Sm90Kernel::swap, 16, 64, 1, 2},  // residual 9 %
    {16, 4096, 14336, false, Sm90Kernel::swap, 16, 64, 1, 2},  // residual 1 %
    {48, 1024, 4096, false, Sm90Kernel::swap, 48, 64, 1, 3},  // residual 5 %
    {48, 4800, 1600, false, Sm90Kernel::swap, 48, 64, 1, 1},  // scaled 11 %
    {64, 1600, 1600, false, Sm90Kernel::swap, 32, 64, 1, 1},  // residual 3 %
    {64, 3072, 1024, false, Sm90Kernel::swap, 32, 64, 1, 1},  // scaled 10 %
    {64, 4096, 4096, false, Sm90Kernel::swap, 64, 64, 1, 1},  // residual 16 %
    {96, 1024, 4096, false, Sm90Kernel::swap, 96, 64, 1, 3},  // residual, in the block 4 %
    {96, 4096, 1024, false, Sm90Kernel::swap, 96, 64, 1, 1},  // gelu 13 %
    {128, 1024, 1024, false, Sm90Kernel::swap, 32, 64, 1, 1},  // residual 25 %
    {256, 1024, 4096, false, Sm90Kernel::swap, 128, 64, 1, 2},  // residual 14 %
    {256, 1600, 6400, false, Sm90Kernel::swap, 128, 128, 1, 4},  // residual, in the block 11 %
    {384, 1024, 4096, false, Sm90Kernel::block, 128, 96, 1, 3},  // residual, in the block 10 %
    {384, 1600, 6400, false, Sm90Kernel::swap, 168, 64, 1, 2},  // residual, in the block 8 %
    {384, 4096, 1024, false, Sm90Kernel::block, 128, 96, 1, 1},  // gelu, in the block 1 %
    {384, 6144, 4096, false, Sm90Kernel::swap, 88, 192, 1, 1},  // scaled, in the block 11 %
    {384, 6400, 1600, false, Sm90Kernel::swap, 168, 64, 1, 1},  // gelu, in the block 4 %
    {512, 4096, 1024, false, Sm90Kernel::swap, 88, 192, 1, 1},  // gelu, in the block 4 %
    {512, 4096, 14336, false, Sm90Kernel::swap, 128, 128, 1, 1},  // residual, in the block 3 %
    {512, 6144, 4096, false, Sm90Kernel::block, 128, 192, 1, 1},  // scaled, in the block 1 %
    {640, 1024, 4096, false, Sm90Kernel::swap, 128, 64, 1, 1},  // residual, in the block 4 %
    {640, 4096, 14336, false, Sm90Kernel::swap, 160, 128, 1, 1},  // residual, in the block 2 %
    {640, 6400, 1600, false, Sm90Kernel::swap, 128, 128, 1, 1},  // gelu, in the block 5 %
    {768, 1024, 4096, false, Sm90Kernel::swap, 128, 64, 1, 1},  // residual, in the block 2 %
    {768, 3072, 1024, false, Sm90Kernel::block, 128, 144, 1, 1},  // scaled, in the block 6 %
    {768, 4096, 14336, false, Sm90Kernel::block, 256, 96, 1, 1},  // residual, in the block 1 %
    {1024, 1024, 4096, false, Sm90Kernel::swap, 128, 128, 1, 2},  // residual, in the block 1 %
    {1024, 1600, 1600, false, Sm90Kernel::swap, 128, 128, 1, 1},  // residual 24 %
    {1024, 3072, 1024, false, Sm90Kernel::block, 256, 96, 1, 1},  // scaled, in the block 2 %
    {1024, 6144, 4096, false, Sm90Kernel::ping_pong, 128, 128, 1, 1},  // scaled, in the block 4 %
    {2048, 1024, 4096, false, Sm90Kernel::block, 128, 128, 2, 1},  // residual, in the block 15 %
    {2048, 3072, 1024, false, Sm90Kernel::block, 256, 192, 1, 1},  // scaled, in the block 5 %
    {2048, 4096, 1024, false, Sm90Kernel::block, 128, 128, 2, 1},  // gelu, in the block 2 %
    {2048, 4800, 1600, false, Sm90Kernel::ping_pong, 128, 128, 2, 1},  // scaled, in the block 2 %
    {4096, 1024, 1024, false, Sm90Kernel::swap, 128, 128, 1, 1},  // residual 65 %
    {4096, 4096, 1024, false, Sm90Kernel::ping_pong, 128, 128, 1, 1},  // gelu, in the block 1 %
    {4096, 4800, 1600, false, Sm90Kernel::ping_pong, 128, 128, 2, 1},  // scaled, in the block 7 %
    {8192, 1600, 6400, false, Sm90Kernel::block, 256, 200, 1, 1},  // residual, in the block 4 %
    {8192, 4096, 14336, false, Sm90Kernel::block, 256, 128, 1, 1},  // residual, in the block 2 %
    {8192, 4800, 1600, false, Sm90Kernel::ping_pong, 128, 128, 2, 1},  // scaled, in the block 5 %
    {16384, 1600, 6400, false, Sm90Kernel::ping_pong, 128, 160, 2, 1},  // residual, in the block 2 %
    {16384, 4096, 14336, false, Sm90Kernel::block, 256, 128, 1, 1},  // residual, in the block 9 %
    // clang-format on
};

// The entry for a problem, or null.
inline const Sm90Override* sm90_override(const Gemm& g, int multiprocessors) {
  if (multiprocessors != 132) return nullptr;
  const std::int64_t up_to = sm90_rows_class(g.m);
  for (const Sm90Override& entry : sm90_overrides) {
    if (entry.up_to == up_to && entry.weight_rows == g.weight_rows() && entry.k == g.k &&
        entry.gated == g.gated) {
      return &entry;
    }
  }
  return nullptr;
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
