// The ping-pong Hopper GEMM with tiles of 128 rows by 200 slots.
#include "cuda/gemm/sm90_pingpong.cuh"

namespace postlude {
namespace detail {
namespace cuda {

template struct Sm90PingPong<200, 1>;

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
