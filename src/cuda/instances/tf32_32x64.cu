// The fp32 tensor-core GEMM with tiles of 32 rows by 64 slots.
#include "cuda/gemm/tf32.cuh"

namespace postlude {
namespace detail {
namespace cuda {

template struct Tf32Tile<32, 64>;

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
