// The block Hopper GEMM with swapped operands and tiles of 48 and 64 rows.
#include "cuda/gemm/sm90_block.cuh"

namespace postlude {
namespace detail {
namespace cuda {

template struct Sm90Block<48, 64, 1, true>;
template struct Sm90Block<64, 64, 1, true>;

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
