// The block Hopper GEMM with swapped operands and tiles of 16 and 32 rows.
#include "cuda/gemm/sm90_block.cuh"

namespace postlude {
namespace detail {
namespace cuda {

template struct Sm90Block<16, 64, 1, true>;
template struct Sm90Block<32, 64, 1, true>;

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
