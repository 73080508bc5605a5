// The sm_80 tensor-core GEMM with tiles of 128 rows by 128 slots.
#include "cuda/gemm/sm80.cuh"

namespace postlude {
namespace detail {
namespace cuda {

template struct Sm80Tile<128, 128>;

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
