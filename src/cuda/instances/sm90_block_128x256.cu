// The block Hopper GEMM with tiles of 128 rows by 256 slots.
#include "cuda/gemm/sm90_block.cuh"

namespace postlude {
namespace detail {
namespace cuda {

template struct Sm90Block<128, 256, 1, false>;

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
