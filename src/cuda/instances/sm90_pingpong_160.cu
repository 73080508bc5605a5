// The ping-pong Hopper GEMM with tiles of 160 slots.
#include "cuda/gemm/sm90_pingpong.cuh"

namespace postlude {
namespace detail {
namespace cuda {

template struct Sm90PingPong<160, 2>;

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
