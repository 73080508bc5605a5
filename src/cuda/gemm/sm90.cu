// The choice of the Hopper GEMM: what it runs, and with which tile.
#include "cuda/gemm/sm90.hpp"

#include <algorithm>
#include <limits>
#include <string>

#include "cuda/device.hpp"
#include "cuda/gemm/kernels.hpp"
#include "cuda/gemm/tensor_map.hpp"

namespace postlude {
namespace detail {
namespace cuda {
namespace {

// The compiled tiles. `cost` is the measured time of a k step over its wgmma cycles.
struct Tile {
  int slots;
  int cluster;
  double cost;
  void (*launch)(DType, const Sm90Args&, unsigned, cudaStream_t);
};

constexpr Tile tiles[] = {
    {128, 2, 1.06, &Sm90Tile<128, 2>::launch},
    {160, 2, 1.03, &Sm90Tile<160, 2>::launch},
};

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

std::int64_t k_tiles(const Gemm& g) { return ceil_div(g.k, sm90_tile_k); }
std::int64_t row_clusters(const Gemm& g, const Tile& t) {
  return ceil_div(ceil_div(g.m, sm90_rows), t.cluster);
}
std::int64_t column_tiles(const Gemm& g, const Tile& t) {
  return ceil_div(g.weight_rows(), t.slots);
}

unsigned block_count(const Gemm& g, const Tile& t, const DeviceState& device) {
  const std::int64_t clusters = row_clusters(g, t) * column_tiles(g, t);
  return static_cast<unsigned>(std::min<std::int64_t>(clusters, device.sm_count / t.cluster) *
                               t.cluster);
}

// Cycles of the whole GEMM: waves of tiles, each its wgmma (4096 multiply-adds a cycle and
// multiprocessor), and the start and the last epilogue, which nothing hides.
double cycles(const Gemm& g, const Tile& t, const DeviceState& device) {
  const double waves = static_cast<double>(
      ceil_div(row_clusters(g, t) * column_tiles(g, t) * t.cluster, block_count(g, t, device)));
  const double step = 128.0 * t.slots * sm90_tile_k / 4096.0 * 2.0 * t.cost;
  return waves * (static_cast<double>(k_tiles(g)) * step + 300.0) + 2500.0 + 12.0 * t.slots;
}

const Tile& choose(const Gemm& g, const DeviceState& device) {
  const auto better = [&](const Tile& a, const Tile& b) {
    return cycles(g, a, device) < cycles(g, b, device);
  };
  // One tile for all M where a row's bits must not depend on it; they do not depend on the tile
  // either, but a promise should not rest on that.
  return g.batch_invariant ? tiles[0]
                           : *std::min_element(std::begin(tiles), std::end(tiles), better);
}

bool tma_reads(const void* data, std::int64_t lines, std::int64_t stride) {
  return is_aligned(data) && (lines <= 1 || (stride > 0 && stride % 8 == 0));
}

Sm90Args sm90_args(const Gemm& g, const Tile& t) {
  const WeightOperand& w = g.weight;
  const auto stride_of = [&](std::int64_t lines, std::int64_t stride) {
    return lines > 1 ? stride : ceil_div(g.k, 8) * 8;
  };
  Sm90Args a;
  a.x = tensor_map({g.x.data, g.x.dtype, g.k, g.m, stride_of(g.m, g.x.stride), sm90_rows});
  TiledMatrix weight{
      w.data, w.dtype, g.k, g.n, stride_of(g.weight_rows(), w.stride_n), t.slots / t.cluster};
  a.epilogue = epilogue_args(g);
  if (g.gated) {
    a.epilogue.up_first = g.up_row() < g.gate_row();
    a.weight = interleaved_tensor_map(weight, g.n * weight.stride);
  } else {
    a.weight = tensor_map(weight);
  }
  a.k_tiles = k_tiles(g);
  a.tiles_m = row_clusters(g, t);
  a.tiles_n = column_tiles(g, t);
  a.raster = std::max(1, 8 / t.cluster);
  return a;
}

class Sm90Gemm final : public GemmKernel {
 public:
  const char* name() const override { return "cuda.sm90"; }

  const char* can_run(const Gemm& g, const ContextState& context) const override {
    if (device_state(context).sm != 90) return "the device is not sm_90";
    if (g.x.dtype != DType::bf16 && g.x.dtype != DType::f16)
      return "x is neither bfloat16 nor float16";
    if (g.weight.packed != nullptr) return "the weight is packed for another kernel";
    if (g.weight.dtype != g.x.dtype) return "the weight's dtype is not that of x";
    if (g.k == 0) return "k is 0";
    if (g.k > 1 && g.weight.stride_k != 1) return "the weight is [in, out]";
    if (!tma_reads(g.x.data, g.m, g.x.stride))
      return "TMA needs rows of x at multiples of 16 bytes";
    if (!tma_reads(g.weight.data, g.weight_rows(), g.weight.stride_n)) {
      return "TMA needs rows of the weight at multiples of 16 bytes";
    }
    if (g.gated && g.n % 8 != 0) return "a gated weight needs halves of a multiple of 8 rows";
    constexpr std::int64_t most = std::numeric_limits<int>::max() - 65536;
    if (g.m > most || g.k > most || g.weight_rows() > most) return "a size is over 2^31";
    return nullptr;
  }

  std::size_t workspace(const Gemm&, const ContextState&) const override { return 0; }

  std::string describe(const Gemm& g, const ContextState& context) const override {
    const Tile& t = choose(g, device_state(context));
    return "tile 128x" + std::to_string(t.slots) + "x64, cluster " + std::to_string(t.cluster) +
           ", " + std::to_string(block_count(g, t, device_state(context))) + " blocks";
  }

  void launch(const Gemm& g, void*, ContextState& context) const override {
    const DeviceGuard guard(context.device.index);
    const Tile& t = choose(g, device_state(context));
    t.launch(g.x.dtype, sm90_args(g, t), block_count(g, t, device_state(context)),
             stream_of(context));
  }
};

}  // namespace

const GemmKernel& sm90_gemm_kernel() {
  static const Sm90Gemm kernel;
  return kernel;
}

void load_sm90_gemm() {
  Sm90Tile<128, 2>::load();
  Sm90Tile<160, 2>::load();
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
