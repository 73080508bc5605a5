// The vector code of the CPU backend: epilogue, norms, residual sums and conversions, compiled once
// an instruction set.
#include "cpu/isa/tile_ops.hpp"

#include <cmath>

#include "cpu/isa/activation.hpp"
#include "cpu/isa/convert.hpp"
#include "cpu/isa/dot.hpp"

namespace postlude {
namespace detail {
namespace {

inline int chunk_count(std::int64_t left) { return left < chunk ? static_cast<int>(left) : chunk; }

inline const char* at(const void* data, DType dtype, std::int64_t i) {
  return static_cast<const char*>(data) + i * static_cast<std::int64_t>(size_of(dtype));
}

// dst[0..columns) = v[begin..begin+columns) as fp32, or the one value of a scalar.
void load_vector(const Vector& v, std::int64_t begin, std::int64_t columns, float* dst) {
  for (std::int64_t c = 0; c < columns; c += chunk) {
    if (v.scalar) {
      float one[chunk];
      load_chunk(v.data, v.dtype, one, 1);
      for (int i = 0; i < chunk; ++i) dst[c + i] = one[0];
    } else {
      load_chunk(at(v.data, v.dtype, begin + c), v.dtype, dst + c, chunk_count(columns - c));
    }
  }
}

float load_scalar(const Vector& v, std::int64_t i) {
  return static_cast<const float*>(v.data)[v.scalar ? 0 : i];
}

// What the columns of one half of a tile need: z = row_scale * scale * (acc - row_mean * sum) +
// bias.
struct ColumnTerms {
  const float* scale = nullptr;         // col_scale
  const float* weight_scale = nullptr;  // int8 scales
  const float* sum = nullptr;
  const float* bias = nullptr;
};

ColumnTerms column_terms(const EpilogueTile& tile, std::int64_t weight_row, float* scratch) {
  const Gemm& g = *tile.gemm;
  const std::int64_t padded = epilogue_scratch(tile.columns) / 6;
  ColumnTerms terms;
  const std::int64_t n = weight_row + tile.n0;
  if (g.bias.present) {
    load_vector(g.bias, n, tile.columns, scratch);
    terms.bias = scratch;
    scratch += padded;
  }
  if (g.col_sum.present) {
    load_vector(g.col_sum, n, tile.columns, scratch);
    terms.sum = scratch;
    scratch += padded;
  }
  if (tile.scale_weights) {
    for (std::int64_t c = 0; c < tile.columns; ++c) {
      scratch[c] = g.weight.scales[(n + c) / g.weight.group];
    }
    for (std::int64_t c = tile.columns; c < padded; ++c) scratch[c] = 0.0f;
    terms.weight_scale = scratch;
    scratch += padded;
  }
  if (g.col_scale.present) {
    // Shares the weight scale's place where both are there: acc is scaled before the mean
    // correction, z after it.
    terms.scale = static_cast<const float*>(g.col_scale.data) + (g.col_scale.scalar ? 0 : n);
  }
  return terms;
}

struct RowTerms {
  float scale = 1.0f;
  float mean = 0.0f;
};

inline void linear_terms(const Gemm& g, const ColumnTerms& t, const RowTerms& row, std::int64_t c,
                         int count, float* z) {
  if (t.weight_scale != nullptr) {
    for (int i = 0; i < chunk; ++i) z[i] *= t.weight_scale[c + i];
  }
  if (t.sum != nullptr) {
    for (int i = 0; i < chunk; ++i) z[i] -= row.mean * t.sum[c + i];
  }
  if (g.row_scale.present) {
    for (int i = 0; i < chunk; ++i) z[i] *= row.scale;
  }
  if (t.scale != nullptr) {
    if (g.col_scale.scalar) {
      for (int i = 0; i < chunk; ++i) z[i] *= t.scale[0];
    } else {
      for (int i = 0; i < count; ++i) z[i] *= t.scale[c + i];
    }
  }
  if (t.bias != nullptr) {
    for (int i = 0; i < chunk; ++i) z[i] += t.bias[c + i];
  }
}

inline void clamp_halves(float limit, float* gate, float* up) {
  for (int i = 0; i < chunk; ++i) {
    gate[i] = gate[i] > limit ? limit : gate[i];
    up[i] = up[i] > limit ? limit : up[i];
    up[i] = up[i] < -limit ? -limit : up[i];
  }
}

void epilogue(const EpilogueTile& tile) {
  const Gemm& g = *tile.gemm;
  const ColumnTerms gate = column_terms(tile, g.gate_row(), tile.scratch);
  ColumnTerms up;
  if (g.gated)
    up = column_terms(tile, g.up_row(), tile.scratch + epilogue_scratch(tile.columns) / 2);
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const std::int64_t m = tile.m0 + r;
    RowTerms row;
    if (g.row_scale.present) row.scale = load_scalar(g.row_scale, m);
    if (g.row_mean.present) row.mean = load_scalar(g.row_mean, m);
    for (std::int64_t c = 0; c < tile.columns; c += chunk) {
      const int count = chunk_count(tile.columns - c);
      alignas(64) float z[chunk];
      copy_chunk(tile.acc + r * tile.ld + c, z);
      linear_terms(g, gate, row, c, count, z);
      if (g.gated) {
        alignas(64) float z_up[chunk];
        copy_chunk(tile.acc_up + r * tile.ld + c, z_up);
        linear_terms(g, up, row, c, count, z_up);
        if (g.clamp > 0.0f) clamp_halves(g.clamp, z, z_up);
        apply_activation(g.activation, z);
        for (int i = 0; i < chunk; ++i) z[i] *= z_up[i];
      } else {
        apply_activation(g.activation, z);
      }
      if (g.alpha != 1.0f) {
        for (int i = 0; i < chunk; ++i) z[i] *= g.alpha;
      }
      if (g.residual.present) {
        alignas(64) float res[chunk];
        load_chunk(at(g.residual.row(m), g.residual.dtype, tile.n0 + c), g.residual.dtype, res,
                   count);
        for (int i = 0; i < chunk; ++i) z[i] += res[i];
      }
      store_chunk(z, const_cast<char*>(at(g.out.row(m), g.out.dtype, tile.n0 + c)), g.out.dtype,
                  count);
    }
  }
}

// Adds `rows`' columns [c, c + count) to z.
inline void add_row(const Rows& rows, std::int64_t m, std::int64_t c, int count, float* z) {
  if (!rows.present) return;
  alignas(64) float term[chunk];
  load_chunk(at(rows.row(m), rows.dtype, c), rows.dtype, term, count);
  for (int i = 0; i < chunk; ++i) z[i] += term[i];
}

inline void add_vector(const Vector& v, std::int64_t c, int count, float* z) {
  if (!v.present) return;
  alignas(64) float term[chunk];
  load_chunk(at(v.data, v.dtype, c), v.dtype, term, count);
  for (int i = 0; i < chunk; ++i) z[i] += term[i];
}

// Sets the elements past h in the last chunk of the row.
inline void pad_row(float* row, std::int64_t h, float value) {
  for (std::int64_t i = h; i % chunk != 0; ++i) row[i] = value;
}

struct Moments {
  float shift;  // subtract first: row - shift is then centred to the last bit
  float mean;   // of row - shift
  float variance;
};

// Mean and biased variance of a row padded to whole chunks, whose lanes add up to `lanes`: from a
// first mean, then the deviations from it, whose own mean corrects the rounding of the first.
inline Moments moments(float* row, std::int64_t h, float* lanes) {
  const float count = static_cast<float>(h);
  Moments result;
  result.shift = fold_lanes(lanes) / count;
  pad_row(row, h, result.shift);
  alignas(64) float deviations[chunk] = {};
  alignas(64) float squares[chunk] = {};
  for (std::int64_t c = 0; c < h; c += chunk) {
    for (int i = 0; i < chunk; ++i) {
      const float d = row[c + i] - result.shift;
      deviations[i] += d;
      squares[i] += d * d;
    }
  }
  result.mean = fold_lanes(deviations) / count;
  result.variance = fold_lanes(squares) / count - result.mean * result.mean;
  return result;
}

void norm_rows(const NormCall& call, std::int64_t begin, std::int64_t end, float* row) {
  for (std::int64_t m = begin; m < end; ++m) {
    // r, unrounded, into the row buffer; its sum or the sum of its squares on the way.
    alignas(64) float lanes[chunk] = {};
    for (std::int64_t c = 0; c < call.h; c += chunk) {
      const int count = chunk_count(call.h - c);
      float* z = row + c;
      load_chunk(at(call.x.row(m), call.x.dtype, c), call.x.dtype, z, count);
      add_row(call.residual, m, c, count, z);
      add_vector(call.bias, c, count, z);
      if (call.kind == NormKind::rms) {
        for (int i = 0; i < chunk; ++i) lanes[i] += z[i] * z[i];
      } else {
        for (int i = 0; i < chunk; ++i) lanes[i] += z[i];
      }
    }
    Moments stats{0.0f, 0.0f, 0.0f};
    float inverse = 1.0f;
    if (call.kind == NormKind::layer) {
      stats = moments(row, call.h, lanes);
      inverse = 1.0f / std::sqrt(stats.variance + call.eps);
    } else if (call.kind == NormKind::rms) {
      inverse = 1.0f / std::sqrt(fold_lanes(lanes) / static_cast<float>(call.h) + call.eps);
    }
    for (std::int64_t c = 0; c < call.h; c += chunk) {
      const int count = chunk_count(call.h - c);
      const float* r = row + c;
      alignas(64) float after[chunk] = {};
      if (call.add_after.present) add_row(call.add_after, m, c, count, after);
      if (call.r_out.present) {
        store_chunk(r, const_cast<char*>(at(call.r_out.row(m), call.r_out.dtype, c)),
                    call.r_out.dtype, count);
      }
      if (!call.n_out.present) continue;
      alignas(64) float z[chunk];
      for (int i = 0; i < chunk; ++i) z[i] = ((r[i] - stats.shift) - stats.mean) * inverse;
      if (call.weight.present) {
        alignas(64) float w[chunk];
        load_chunk(at(call.weight.data, call.weight.dtype, c), call.weight.dtype, w, count);
        for (int i = 0; i < chunk; ++i) z[i] *= w[i] + call.weight_offset;
      } else if (call.weight_offset != 0.0f) {
        for (int i = 0; i < chunk; ++i) z[i] *= 1.0f + call.weight_offset;
      }
      add_vector(call.norm_bias, c, count, z);
      if (call.add_after.present) {
        for (int i = 0; i < chunk; ++i) z[i] += after[i];
      }
      store_chunk(z, const_cast<char*>(at(call.n_out.row(m), call.n_out.dtype, c)),
                  call.n_out.dtype, count);
    }
  }
}

void residual_rows(const ResidualCall& call, std::int64_t begin, std::int64_t end) {
  for (std::int64_t m = begin; m < end; ++m) {
    for (std::int64_t c = 0; c < call.h; c += chunk) {
      const int count = chunk_count(call.h - c);
      alignas(64) float inner[chunk] = {};
      for (const Rows& rows : call.inner) add_row(rows, m, c, count, inner);
      for (const Vector& v : call.inner_bias) add_vector(v, c, count, inner);
      for (int i = 0; i < chunk; ++i) inner[i] *= call.inner_scale;
      for (const Rows& rows : call.outer) add_row(rows, m, c, count, inner);
      store_chunk(inner, const_cast<char*>(at(call.out.row(m), call.out.dtype, c)), call.out.dtype,
                  count);
    }
  }
}

void convert(const void* src, DType from, void* dst, DType to, std::int64_t n, float scale) {
  for (std::int64_t i = 0; i < n; i += chunk) {
    const int count = chunk_count(n - i);
    alignas(64) float z[chunk];
    load_chunk(at(src, from, i), from, z, count);
    if (scale != 1.0f) {
      for (int j = 0; j < chunk; ++j) z[j] *= scale;
    }
    store_chunk(z, const_cast<char*>(at(dst, to, i)), to, count);
  }
}

}  // namespace

// The build names the table after the instruction set: POSTLUDE_ISA_TABLE is tile_ops_avx2, for
// instance.
extern const TileOps POSTLUDE_ISA_TABLE;
const TileOps POSTLUDE_ISA_TABLE = {POSTLUDE_ISA_NAME, epilogue, norm_rows, residual_rows,
                                    convert,           dot,      block_dot};

}  // namespace detail
}  // namespace postlude
