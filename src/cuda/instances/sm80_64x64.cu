// The sm_80 tensor-core GEMM with tiles of 64 rows by 64 slots.
#include "cuda/gemm/sm80.cuh"

namespace postlude {
namespace detail {
namespace cuda {

template struct Sm80Tile<64, 64>;

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
