// The block Hopper GEMM with swapped operands and tiles of 112 and 168 rows.
#include "cuda/gemm/sm90_block.cuh"

namespace postlude {
namespace detail {
namespace cuda {

template struct Sm90Block<112, 128, 1, true>;
template struct Sm90Block<168, 128, 1, true>;

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
