// The block Hopper GEMM with tiles of 128 rows by 128 slots.
#include "cuda/gemm/sm90_block.cuh"

namespace postlude {
namespace detail {
namespace cuda {

template struct Sm90Block<128, 128, 1, false>;
template struct Sm90Block<128, 128, 2, false>;

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
