// cpu.reference: the GEMM one element at a time in double precision; slow, and runs any shape,
// dtype and stride.
#include <algorithm>

#include "cpu/gemm_kernels.hpp"
#include "cpu/isa/tile_ops.hpp"
#include "cpu/threads.hpp"

namespace postlude {
namespace detail {
namespace {

float element(const void* data, DType dtype, std::int64_t i) {
  float value;
  tile_ops().convert(static_cast<const char*>(data) + i * static_cast<std::int64_t>(size_of(dtype)),
                     dtype, &value, DType::f32, 1, 1.0f);
  return value;
}

float weight_element(const WeightOperand& w, std::int64_t n, std::int64_t k,
                     std::int64_t in_features) {
  const float value = element(w.data, w.dtype, n * w.stride_n + k * w.stride_k);
  if (w.dtype != DType::i8) return value;
  const std::int64_t scale =
      w.grouping == Grouping::rows ? n / w.group : n * (in_features / w.group) + k / w.group;
  return value * w.scales[scale];
}

float dot(const Gemm& g, std::int64_t m, std::int64_t n) {
  double sum = 0.0;
  for (std::int64_t k = 0; k < g.k; ++k) {
    sum += static_cast<double>(element(g.x.row(m), g.x.dtype, k)) *
           static_cast<double>(weight_element(g.weight, n, k, g.k));
  }
  return static_cast<float>(sum);
}

class ReferenceGemm : public GemmKernel {
 public:
  const char* name() const override { return "cpu.reference"; }

  // A packed weight always runs on the kernel that it was packed for: packing checks that.
  const char* can_run(const Gemm& g, const ContextState&) const override {
    return g.weight.packed == nullptr ? nullptr : "reads plain weights only";
  }

  std::size_t workspace(const Gemm&, const ContextState&) const override { return 0; }
  std::string describe(const Gemm&, const ContextState&) const override { return "impl=double"; }

  void launch(const Gemm& g, void*, ContextState&) const override {
    const double microseconds = static_cast<double>(g.m) * static_cast<double>(g.weight_rows()) *
                                static_cast<double>(g.k) / 50.0;
    for_each_item(g.m, microseconds, [&](std::int64_t m) {
      constexpr std::int64_t width = tile_column_pad;
      float acc[2][width] = {};
      float scratch[epilogue_scratch(width)];
      EpilogueTile tile;
      tile.gemm = &g;
      tile.m0 = m;
      tile.rows = 1;
      tile.acc = acc[0];
      tile.acc_up = acc[1];
      tile.ld = width;
      tile.scratch = scratch;
      for (tile.n0 = 0; tile.n0 < g.n; tile.n0 += width) {
        tile.columns = std::min(width, g.n - tile.n0);
        for (std::int64_t c = 0; c < tile.columns; ++c) {
          acc[0][c] = dot(g, m, g.gate_row() + tile.n0 + c);
          if (g.gated) acc[1][c] = dot(g, m, g.up_row() + tile.n0 + c);
        }
        tile_ops().epilogue(tile);
      }
    });
  }
};

}  // namespace

const GemmKernel& reference_gemm() {
  static const ReferenceGemm kernel;
  return kernel;
}

}  // namespace detail
}  // namespace postlude
