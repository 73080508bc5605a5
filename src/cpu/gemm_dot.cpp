// cpu.dot: the GEMM of up to 4 rows with a plain [out, in] weight, which it reads once and in
// place.
//
// oneDNN copies a plain weight into its own layout on every call, which at few rows costs more than
// the product.
#include <algorithm>

#include "cpu/gemm_kernels.hpp"
#include "cpu/isa/tile_ops.hpp"
#include "cpu/packed_weight.hpp"
#include "cpu/threads.hpp"

namespace postlude {
namespace detail {
namespace {

constexpr std::int64_t width = tile_column_pad;

std::int64_t padded_k(const Gemm& g) { return (g.k + width - 1) / width * width; }

int threads(const Gemm& g) {
  const double bytes = static_cast<double>(g.weight_rows()) * static_cast<double>(g.k) *
                       static_cast<double>(size_of(g.weight.dtype));
  return team_size((g.n + width - 1) / width, bytes / 10e3);
}

// The products of all rows of x with one weight row, into acc[r * width].
void products(const Gemm& g, const float* x, std::int64_t n, float* acc) {
  for (std::int64_t r = 0; r < g.m; ++r) acc[r * width] = 0.0f;
  if (g.k == 0) return;  // pointers may be null
  const WeightOperand& w = g.weight;
  const bool by_k = w.dtype == DType::i8 && w.grouping == Grouping::k;
  const auto size = static_cast<std::int64_t>(size_of(w.dtype));
  const char* row = static_cast<const char*>(w.data) + n * w.stride_n * size;
  const std::int64_t run = by_k ? w.group : g.k;
  DotRows rows{x, padded_k(g), static_cast<int>(g.m)};
  for (std::int64_t k = 0; k < g.k; k += run) {
    const float scale = by_k ? w.scales[n * (g.k / w.group) + k / w.group] : 1.0f;
    float sums[max_dot_rows];
    rows.data = x + k;
    tile_ops().dot(row + k * size, w.dtype, rows, run, sums);
    for (std::int64_t r = 0; r < g.m; ++r) acc[r * width] += scale * sums[r];
  }
}

const PackedWeight* packed_weight(const Gemm& g) {
  return static_cast<const PackedWeight*>(g.weight.packed);
}

// The products with `columns` weight rows from `first` on.
void tile_products(const Gemm& g, const float* x, std::int64_t first, std::int64_t columns,
                   float* acc) {
  const PackedWeight* packed = packed_weight(g);
  if (packed == nullptr) {
    for (std::int64_t c = 0; c < columns; ++c) products(g, x, first + c, acc + c);
    return;
  }
  const std::int64_t column = first % packed->half_columns % packed->columns;
  const char* block = packed->panel(first - column) +
                      static_cast<std::size_t>(column / width) * packed->block_bytes;
  tile_ops().block_dot(reinterpret_cast<const float*>(block),
                       {x, padded_k(g), static_cast<int>(g.m)}, g.k, acc, width);
}

class DotGemm : public GemmKernel {
 public:
  const char* name() const override { return "cpu.dot"; }

  const char* can_run(const Gemm& g, const ContextState&) const override {
    if (g.m > max_dot_rows) return "more than 4 rows";
    const bool blocks = g.weight.packed != nullptr && g.weight.dtype == DType::f32 &&
                        packed_weight(g)->block_bytes != 0;
    if (g.weight.packed != nullptr && !blocks) return "the weight is packed for oneDNN alone";
    if (g.weight.packed == nullptr && g.weight.stride_k != 1) return "the weight is [in, out]";
    if (g.batch_invariant) return "its bits depend on the number of rows";
    return nullptr;
  }

  // x in fp32, once for all threads.
  std::size_t workspace(const Gemm& g, const ContextState&) const override {
    return static_cast<std::size_t>(g.m * padded_k(g)) * sizeof(float);
  }

  std::string describe(const Gemm& g, const ContextState&) const override {
    return "threads=" + std::to_string(threads(g)) + " impl=" + tile_ops().isa;
  }

  void launch(const Gemm& g, void* workspace, ContextState&) const override {
    auto* x = static_cast<float*>(workspace);
    for (std::int64_t m = 0; m < g.m; ++m) {
      tile_ops().convert(g.x.row(m), g.x.dtype, x + m * padded_k(g), DType::f32, g.k, 1.0f);
    }
    const std::int64_t tiles = (g.n + width - 1) / width;
    run_team(threads(g), [&](int thread, int team) {
      alignas(64) float acc[2][max_dot_rows * width] = {};
      float scratch[epilogue_scratch(width)];
      EpilogueTile tile;
      tile.gemm = &g;
      tile.rows = g.m;
      tile.acc = acc[0];
      tile.acc_up = acc[1];
      tile.ld = width;
      tile.scale_weights = g.weight.dtype == DType::i8 && g.weight.grouping == Grouping::rows;
      tile.scratch = scratch;
      const Range mine = share(tiles, thread, team);
      for (std::int64_t i = mine.begin; i < mine.end; ++i) {
        tile.n0 = i * width;
        tile.columns = std::min(width, g.n - tile.n0);
        tile_products(g, x, g.gate_row() + tile.n0, tile.columns, acc[0]);
        if (g.gated) tile_products(g, x, g.up_row() + tile.n0, tile.columns, acc[1]);
        tile_ops().epilogue(tile);
      }
    });
  }
};

}  // namespace

const GemmKernel& dot_gemm() {
  static const DotGemm kernel;
  return kernel;
}

}  // namespace detail
}  // namespace postlude
