// The ping-pong Hopper GEMM with tiles of 128 slots.
#include "cuda/gemm/sm90_pingpong.cuh"

namespace postlude {
namespace detail {
namespace cuda {

template struct Sm90PingPong<128, 1>;
template struct Sm90PingPong<128, 2>;

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
