// The Hopper GEMM with tiles of 128 rows by 160 slots, in pairs of blocks.
#include "cuda/gemm/sm90.cuh"

namespace postlude {
namespace detail {
namespace cuda {

template struct Sm90Tile<160, 2>;

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
