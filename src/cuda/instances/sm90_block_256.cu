// The block Hopper GEMM with tiles of 256 rows.
#include "cuda/gemm/sm90_block.cuh"

namespace postlude {
namespace detail {
namespace cuda {

template struct Sm90Block<256, 128, 1, Sm90Share::x>;

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
