// The block Hopper GEMM with tiles of 64 rows.
#include "cuda/gemm/sm90_block.cuh"

namespace postlude {
namespace detail {
namespace cuda {

template struct Sm90Block<64, 64, 1, false>;
template struct Sm90Block<64, 128, 1, false>;
template struct Sm90Block<64, 128, 2, false>;

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
