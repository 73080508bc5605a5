// The tensor-core GEMM for sm_80 and later: its arguments, its tiles and what launches each.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/epilogue/epilogue.cuh"

namespace postlude {
namespace detail {
namespace cuda {

struct Sm80Args {
  const void* x = nullptr;
  std::int64_t x_stride = 0;
  bool x_vector = false;  // rows may be copied 16 bytes at a time
  const void* weight = nullptr;
  std::int64_t weight_stride = 0;  // of the dimension whose stride is not 1
  bool weight_vector = false;
  std::int64_t k = 0;
  std::int64_t tiles_m = 0;
  std::int64_t tiles_n = 0;
  EpilogueArgs epilogue;
};

// One tile size for bf16 and f16 and weights of either layout: instances/sm80_*.cu, one each.
template <int Rows, int Slots>
struct Sm80Tile {
  // in_out: the weight lies as [in, out].
  static void launch(DType dtype, bool in_out, const Sm80Args& args, cudaStream_t stream);
  static void load();
};

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
