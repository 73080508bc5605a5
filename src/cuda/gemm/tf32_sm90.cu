// The choice of the Hopper GEMM for fp32: what it runs, and with which tile.
#include "cuda/gemm/tf32_sm90.hpp"

#include <algorithm>
#include <limits>
#include <string>

#include "cuda/device.hpp"
#include "cuda/gemm/kernels.hpp"
#include "cuda/gemm/tensor_map.hpp"
#include "cuda/gemm/tiled.hpp"

namespace postlude {
namespace detail {
namespace cuda {
namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

bool in_out(const Gemm& g) { return !along_k(g); }

// The weight's lines: of the dimension whose stride is not 1.
std::int64_t weight_lines(const Gemm& g) { return in_out(g) ? g.k : g.weight_rows(); }
std::int64_t weight_stride(const Gemm& g) {
  return in_out(g) ? g.weight.stride_k : g.weight.stride_n;
}

struct Choice {
  bool small = false;  // tiles of 64 rows
  int split = 1;       // parts of k
};

// Microseconds on an H200: the multiprocessors take their tiles one after another, and each takes a
// time for every 32 of k and one for the epilogue.
double microseconds(const Gemm& g, const Choice& c, const DeviceState& device) {
  const double a_k_tile = c.small ? (in_out(g) ? 0.94 : 0.77) : (in_out(g) ? 1.22 : 1.01);
  const double finish = c.small ? 3.6 : 4.6;
  const double reduction = c.split > 1 ? 2.4 : 0.0;
  const std::int64_t tiles = tiles_of(g, c.small ? 64 : 128, tf32_sm90_slots).all();
  const std::int64_t at_once = std::max(1, device.clusters_at_once[c.split]);
  const std::int64_t k_tiles = ceil_div(ceil_div(g.k, tf32_sm90_tile_k), c.split);
  return static_cast<double>(ceil_div(tiles, at_once)) *
             (static_cast<double>(k_tiles) * a_k_tile + finish) +
         reduction;
}

Choice choose(const Gemm& g, const DeviceState& device) {
  Choice best;
  double least = std::numeric_limits<double>::max();
  for (const bool small : {false, true}) {
    const std::int64_t tiles = tiles_of(g, small ? 64 : 128, tf32_sm90_slots).all();
    for (int split = 1; split <= tf32_sm90_max_split; ++split) {
      // Splitting is for problems with fewer tiles than multiprocessors.
      if (split > 1 && (!device.clusters || tiles * split > 2 * device.sm_count ||
                        split > ceil_div(g.k, tf32_sm90_tile_k))) {
        break;
      }
      const Choice c{small, split};
      const double time = microseconds(g, c, device);
      if (time < least) {
        least = time;
        best = c;
      }
    }
  }
  return best;
}

// Calls function(Tile()) with the tile of a choice.
template <class Function>
void with_tile(const Gemm& g, const Choice& c, Function&& function) {
  if (c.small) {
    in_out(g) ? function(Tf32Sm90Tile<64, true>()) : function(Tf32Sm90Tile<64, false>());
  } else {
    in_out(g) ? function(Tf32Sm90Tile<128, true>()) : function(Tf32Sm90Tile<128, false>());
  }
}

Tf32Sm90Args args_of(const Gemm& g, int rows, int split) {
  const WeightOperand& w = g.weight;
  const std::int64_t stride =
      tma_stride(weight_lines(g), weight_stride(g), in_out(g) ? g.weight_rows() : g.k, w.dtype);
  Tf32Sm90Args a;
  a.epilogue = epilogue_args(g);
  a.x = tensor_map(
      {g.x.data, g.x.dtype, g.k, g.m, tma_stride(g.m, g.x.stride, g.k, g.x.dtype), rows});
  if (in_out(g)) {
    a.weight = tensor_map({w.data, w.dtype, g.weight_rows(), g.k, stride, tf32_sm90_tile_k});
  } else if (g.gated) {
    a.epilogue.up_first = g.up_row() < g.gate_row();
    a.weight =
        interleaved_tensor_map({w.data, w.dtype, g.k, g.n, stride, tf32_sm90_slots}, g.n * stride);
  } else {
    a.weight = tensor_map({w.data, w.dtype, g.k, g.n, stride, tf32_sm90_slots});
  }
  a.x_data = static_cast<const float*>(g.x.data);
  a.x_stride = g.m > 1 ? g.x.stride : 0;
  a.weight_data = static_cast<const float*>(w.data);
  a.weight_stride_n = in_out(g) ? 1 : stride;
  a.weight_stride_k = in_out(g) ? stride : 1;
  a.k = g.k;
  a.k_tiles = static_cast<int>(ceil_div(g.k, tf32_sm90_tile_k));
  const TileCount tiles = tiles_of(g, rows, tf32_sm90_slots);
  a.tiles_m = static_cast<int>(tiles.m);
  a.tiles_n = static_cast<int>(tiles.n);
  a.split = split;
  a.one_product = g.allow_tf32;
  // The loop `scaled` wants the rows' scales in shared memory.
  const EpilogueLoop loop = epilogue_loop(a.epilogue, g.x.dtype);
  a.loop = loop == EpilogueLoop::scaled ? EpilogueLoop::general : loop;
  return a;
}

class Tf32Sm90Gemm final : public GemmKernel {
 public:
  const char* name() const override { return "cuda.tf32x3_sm90"; }

  const char* can_run(const Gemm& g, const ContextState& context) const override {
    if (device_state(context).sm != 90) return "the device is not sm_90";
    if (g.x.dtype != DType::f32) return "x is not float32";
    if (g.weight.packed != nullptr) return "the weight is packed for another kernel";
    if (g.weight.dtype != g.x.dtype) return "the weight's dtype is not that of x";
    if (g.k == 0) return "k is 0";
    if (!along_k(g) && !along_n(g)) return "the weight has stride 1 in neither dimension";
    if (!tma_reads(g.x.data, g.m, g.x.stride, g.x.dtype))
      return "TMA needs rows of x at multiples of 16 bytes";
    if (!tma_reads(g.weight.data, weight_lines(g), weight_stride(g), g.weight.dtype))
      return "TMA needs rows of the weight at multiples of 16 bytes";
    // Which operands TMA reads differs from call to call; the bits must not.
    if (g.batch_invariant) return "batch_invariant calls take one kernel whatever the strides";
    if (g.gated && !in_out(g) && g.n % 8 != 0)
      return "a gated weight [out, in] needs halves of a multiple of 8 rows";
    if (g.gated && in_out(g) && g.n % 4 != 0)
      return "a gated weight [in, out] needs halves of a multiple of 16 bytes";
    constexpr std::int64_t most = std::numeric_limits<int>::max() - 65536;
    if (g.m > most || g.k > most || g.weight_rows() > most) return "a size is over 2^31";
    if (tiles_of(g, 64, tf32_sm90_slots).all() > most) {
      return "there are more tiles than a grid holds";
    }
    return nullptr;
  }

  std::size_t workspace(const Gemm&, const ContextState&) const override { return 0; }

  std::string describe(const Gemm& g, const ContextState& context) const override {
    const Choice c = choose(g, device_state(context));
    std::string text;
    with_tile(g, c, [&](auto tile) {
      text = "tile " + std::to_string(tile.rows) + "x" + std::to_string(tf32_sm90_slots) + "x" +
             std::to_string(tf32_sm90_tile_k) + ", " +
             (c.split > 1 ? "k in " + std::to_string(c.split) + " parts, " : "") +
             std::to_string(tile.stages) + " stages, " +
             (g.allow_tf32 ? "one TF32 product" : "three TF32 products");
    });
    return text;
  }

  void launch(const Gemm& g, void*, ContextState& context) const override {
    const DeviceGuard guard(context.device.index);
    const DeviceState& device = device_state(context);
    const Choice c = choose(g, device);
    with_tile(g, c, [&](auto tile) {
      tile.launch(args_of(g, tile.rows, c.split), device.programmatic, stream_of(context));
    });
  }
};

}  // namespace

const GemmKernel& tf32_sm90_gemm_kernel() {
  static const Tf32Sm90Gemm kernel;
  return kernel;
}

void load_tf32_sm90_gemm() {
  Tf32Sm90Tile<128, false>::load();
  Tf32Sm90Tile<128, true>::load();
  Tf32Sm90Tile<64, false>::load();
  Tf32Sm90Tile<64, true>::load();
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
