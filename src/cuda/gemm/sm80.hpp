// The tensor-core GEMM for sm_80 and later: its tiles and what launches each.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/gemm/tiled.hpp"

namespace postlude {
namespace detail {
namespace cuda {

// One tile size for bf16 and f16 and weights of either layout: instances/sm80_*.cu, one each.
template <int Rows, int Slots>
struct Sm80Tile {
  // in_out: the weight lies as [in, out].
  static void launch(DType dtype, bool in_out, const TiledArgs& args, bool programmatic,
                     cudaStream_t stream);
  static void load();
};

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
