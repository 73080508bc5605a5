// The vector code of the CPU backend as a table of functions, one table an instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "problem.hpp"

namespace postlude {
namespace detail {

// Columns of an accumulator tile are padded to this many floats, so that whole chunks may be read.
inline constexpr std::int64_t tile_column_pad = 64;

// A tile of fp32 accumulators, ready for the epilogue: rows m0.., output columns n0... of the Gemm.
struct EpilogueTile {
  const Gemm* gemm = nullptr;
  std::int64_t m0 = 0;
  std::int64_t n0 = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  const float* acc = nullptr;     // the gate half where gated
  const float* acc_up = nullptr;  // gated only
  std::int64_t ld = 0;  // floats between rows of acc and acc_up, a multiple of tile_column_pad
  bool scale_weights = false;  // multiply acc by the int8 weight's scales (grouping rows)
  float* scratch = nullptr;    // epilogue_scratch(columns) floats
};

constexpr std::int64_t epilogue_scratch(std::int64_t columns) {
  return 6 * ((columns + tile_column_pad - 1) / tile_column_pad * tile_column_pad);
}

// Up to max_dot_rows fp32 rows.
struct DotRows {
  const float* data = nullptr;
  std::int64_t ld = 0;
  int rows = 0;
};

inline constexpr std::int64_t max_dot_rows = 4;

struct TileOps {
  const char* isa;
  void (*epilogue)(const EpilogueTile& tile);
  // Rows [begin, end) of the call; `row` holds h floats padded to tile_column_pad.
  void (*norm_rows)(const NormCall& call, std::int64_t begin, std::int64_t end, float* row);
  void (*residual_rows)(const ResidualCall& call, std::int64_t begin, std::int64_t end);
  // dst[i] = src[i] * scale for i < n, rounded to dst's dtype (not i8).
  void (*convert)(const void* src, DType from, void* dst, DType to, std::int64_t n, float scale);
  // out[r] = sum over k elements of w[i] * x[r][i], in an order that depends on k alone.
  void (*dot)(const void* w, DType dtype, const DotRows& x, std::int64_t k, float* out);
  // The same for 64 weight rows at once, kept as k groups of 64: out[r * ld_out + j] = sum w[i * 64
  // + j] * x[r][i].
  void (*block_dot)(const float* w, const DotRows& x, std::int64_t k, float* out,
                    std::int64_t ld_out);
};

// The table of this machine's best instruction set.
const TileOps& tile_ops();

}  // namespace detail
}  // namespace postlude
