// What GEMMs that fetch their tiles with cp.async share on the host: their arguments, and how a
// problem becomes them.
#pragma once

#include <cstdint>
#include <limits>

#include "cuda/epilogue/epilogue.cuh"
#include "problem.hpp"

namespace postlude {
namespace detail {
namespace cuda {

struct TiledArgs {
  const void* x = nullptr;
  std::int64_t x_stride = 0;
  bool x_vector = false;  // rows may be copied 16 bytes at a time
  const void* weight = nullptr;
  std::int64_t weight_stride = 0;  // of the dimension whose stride is not 1
  bool weight_vector = false;
  std::int64_t k = 0;
  bool one_product = false;  // of TF32 for each of fp32, instead of three
  std::int64_t tiles_m = 0;
  std::int64_t tiles_n = 0;
  EpilogueArgs epilogue;
};

struct TileCount {
  std::int64_t m;
  std::int64_t n;
  std::int64_t all() const { return m * n; }
};

inline TileCount tiles_of(const Gemm& gemm, int rows, int slots) {
  return {(gemm.m + rows - 1) / rows, (gemm.weight_rows() + slots - 1) / slots};
}

// How the weight lies; the stride of a dimension of size 1 is not looked at.
inline bool along_k(const Gemm& gemm) { return gemm.weight.stride_k == 1 || gemm.k <= 1; }
inline bool along_n(const Gemm& gemm) {
  return gemm.weight.stride_n == 1 || gemm.weight_rows() <= 1;
}

// Why no kernel with such tiles runs a problem, or null: what they ask of a weight, and the grid.
inline const char* tiled_refusal(const Gemm& gemm, int rows, int slots) {
  if (gemm.weight.packed != nullptr) return "the weight is packed for another kernel";
  if (gemm.weight.dtype != gemm.x.dtype) return "the weight's dtype is not that of x";
  if (!along_k(gemm) && !along_n(gemm)) return "the weight has stride 1 in neither dimension";
  if (tiles_of(gemm, rows, slots).all() > std::numeric_limits<int>::max()) {
    return "there are more tiles than a grid holds";
  }
  return nullptr;
}

// Whether lines may be copied 16 bytes, `piece` elements, at a time.
inline bool vector_lines(const void* data, std::int64_t lines, std::int64_t stride, int piece) {
  return is_aligned(data) && (lines <= 1 || stride % piece == 0);
}

// For a weight of x's dtype with stride 1 in one dimension.
inline TiledArgs tiled_args(const Gemm& gemm, int rows, int slots) {
  const WeightOperand& weight = gemm.weight;
  const int piece = 16 / static_cast<int>(size_of(gemm.x.dtype));
  const bool in_out = !along_k(gemm);
  const std::int64_t lines = in_out ? gemm.k : gemm.weight_rows();
  TiledArgs a;
  a.x = gemm.x.data;
  a.x_stride = gemm.m > 1 ? gemm.x.stride : 0;
  a.x_vector = vector_lines(gemm.x.data, gemm.m, gemm.x.stride, piece);
  a.weight = weight.data;
  a.weight_stride = lines > 1 ? (in_out ? weight.stride_k : weight.stride_n) : 0;
  a.weight_vector = vector_lines(weight.data, lines, a.weight_stride, piece);
  if (in_out && gemm.gated && gemm.n % piece != 0) {
    a.weight_vector = false;  // the second half's start
  }
  a.k = gemm.k;
  a.one_product = gemm.allow_tf32;
  a.epilogue = epilogue_args(gemm);
  const TileCount tiles = tiles_of(gemm, rows, slots);
  a.tiles_m = tiles.m;
  a.tiles_n = tiles.n;
  return a;
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
