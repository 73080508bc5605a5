// The block Hopper GEMM with swapped operands and tiles of 96 and 128 rows.
#include "cuda/gemm/sm90_block.cuh"

namespace postlude {
namespace detail {
namespace cuda {

template struct Sm90Block<96, 64, 1, true>;
template struct Sm90Block<128, 64, 1, true>;

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
