// The Hopper GEMM for fp32 with tiles of 64 rows by 128 slots.
#include "cuda/gemm/tf32_sm90.cuh"

namespace postlude {
namespace detail {
namespace cuda {

template struct Tf32Sm90Tile<64, false>;
template struct Tf32Sm90Tile<64, true>;

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
