// The tensor-core GEMM for fp32 on sm_80 and later: its tiles and what launches each.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/gemm/tiled.hpp"

namespace postlude {
namespace detail {
namespace cuda {

// One tile size for weights of either layout: instances/tf32_*.cu, one each.
template <int Rows, int Slots>
struct Tf32Tile {
  static constexpr int rows = Rows;
  static constexpr int slots = Slots;
  // in_out: the weight lies as [in, out].
  static void launch(bool in_out, const TiledArgs& args, bool programmatic, cudaStream_t stream);
  static void load();
};

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
