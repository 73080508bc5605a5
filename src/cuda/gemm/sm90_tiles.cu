// The Hopper GEMM's tiles and the choice among them: see sm90_tiles.hpp.
#include "cuda/gemm/sm90_tiles.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cuda/gemm/sm90_overrides.hpp"
#include "cuda/gemm/tensor_map.hpp"

namespace postlude {
namespace detail {
namespace cuda {
namespace {

constexpr int max_cluster = 8;
constexpr int shared_bytes = 227 * 1024;
constexpr int half_shared_bytes = shared_bytes / 2 - 1024;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t k_tiles(const Gemm& g) { return ceil_div(g.k, sm90_tile_k); }

template <int Slots, int Cluster>
Sm90Tile ping_pong(double step, double epilogue) {
  using Kernel = Sm90PingPong<Slots, Cluster>;
  return {Kernel::rows, Slots,    Cluster,         Sm90Share::weight, true, 1,
          step,         epilogue, &Kernel::launch, &Kernel::load};
}

template <int Rows, int Slots, int Cluster>
Sm90Tile block(double step, double epilogue) {
  using Kernel = Sm90Block<Rows, Slots, Cluster, Sm90Share::x>;
  const int at_once = Rows * Slots <= 128 * 128 ? 2 : 1;
  return {Rows,    Slots, Cluster,  Sm90Share::x,    false,
          at_once, step,  epilogue, &Kernel::launch, &Kernel::load};
}

// Clusters of c blocks that run at once, one block a multiprocessor.
std::int64_t clusters_at_once(const DeviceState& device, int c) {
  return std::max(1, device.clusters_at_once[c]);
}

Sm90Choice choice_of(const Gemm& g, const Sm90Tile& t, int split, const DeviceState& device) {
  Sm90Choice c;
  c.tile = &t;
  c.split = split;
  const bool along_m = t.share == Sm90Share::weight;
  c.tiles_m = ceil_div(ceil_div(g.m, t.rows), along_m ? t.cluster : 1);
  c.tiles_n = ceil_div(ceil_div(g.weight_rows(), t.slots), along_m ? 1 : t.cluster);
  c.raster = std::max(1, 8 / (along_m ? t.cluster : 1));
  const std::int64_t clusters = c.tiles_m * c.tiles_n;
  if (t.ping_pong) {
    c.blocks = static_cast<unsigned>(std::min<std::int64_t>(clusters, device.sm_count / t.cluster) *
                                     t.cluster);
    return c;
  }
  const std::int64_t blocks = clusters * t.cluster * split;
  c.blocks = static_cast<unsigned>(std::min<std::int64_t>(blocks, 2147483647));
  // Where all blocks run at once, one a multiprocessor, none should take two: they get memory that
  // two do not fit beside.
  const bool two =
      t.per_multiprocessor == 2 && clusters > clusters_at_once(device, t.cluster * split);
  const int budget = (two ? half_shared_bytes : shared_bytes) - sm90_header_bytes;
  c.stages = std::min(budget / t.stage_bytes(), sm90_max_stages);
  return c;
}

// Calls function(choice) with all that could run a problem.
template <class Function>
void for_each_choice(const Gemm& g, const DeviceState& device, Function&& function) {
  const EpilogueLoop loop = epilogue_loop(epilogue_args(g), g.x.dtype);
  for (const Sm90Tile& t : sm90_tiles()) {
    if (g.gated && t.weight_lines() % 16 != 0) continue;
    if (loop == EpilogueLoop::general && !t.general()) continue;
    for (int split = 1; split <= max_cluster / t.cluster && split <= k_tiles(g); ++split) {
      if (split > 1 && (t.ping_pong || g.batch_invariant)) break;
      const Sm90Choice c = choice_of(g, t, split, device);
      if (c.blocks == 2147483647) break;
      // Splitting is for problems with fewer tiles than multiprocessors.
      if (split > 1 && c.blocks > 2 * static_cast<unsigned>(device.sm_count)) break;
      function(c);
    }
  }
}

bool is(const Sm90Choice& c, const Sm90Override& entry) {
  return c.tile->ping_pong == entry.ping_pong && c.tile->rows == entry.rows &&
         c.tile->slots == entry.slots && c.tile->cluster == entry.cluster && c.split == entry.split;
}

double to_the_fourth(double v) { return v * v * v * v; }

}  // namespace

const std::vector<Sm90Tile>& sm90_tiles() {
  static const std::vector<Sm90Tile> tiles = {
      ping_pong<128, 1>(1.31, 1.2),   ping_pong<128, 2>(1.305, 1.5), ping_pong<160, 2>(1.295, 2.2),
      block<64, 64, 1>(2.38, 1.7),    block<64, 128, 1>(1.73, 1.3),  block<64, 128, 2>(1.80, 1.6),
      block<128, 64, 1>(1.58, 2.3),   block<128, 128, 1>(1.29, 2.7), block<128, 128, 2>(1.28, 2.9),
      block<128, 144, 1>(1.165, 3.5), block<128, 160, 1>(1.17, 3.7), block<128, 192, 1>(1.18, 3.8),
      block<128, 200, 1>(1.18, 3.9),  block<128, 224, 1>(1.17, 4.1), block<128, 256, 1>(1.21, 4.0),
  };
  return tiles;
}

std::vector<Sm90Choice> sm90_choices(const Gemm& g, const DeviceState& device) {
  std::vector<Sm90Choice> choices;
  for_each_choice(g, device, [&](const Sm90Choice& c) { choices.push_back(c); });
  return choices;
}

// Fitted to sweeps of benchmarks/cpp/sm90_sweep.cu on an H200.
double sm90_microseconds(const Gemm& g, const Sm90Choice& c, const DeviceState& device) {
  constexpr double multiply_adds = 2048 * 1.65e3;  // of a multiprocessor in a microsecond
  constexpr double bytes = 3.78e6;                 // of memory in a microsecond
  const Sm90Tile& t = *c.tile;
  const std::int64_t clusters = c.tiles_m * c.tiles_n;
  const std::int64_t places = clusters_at_once(device, t.cluster * c.split);
  const auto rounds = static_cast<double>(ceil_div(clusters, places));
  double products = t.step * t.rows * t.slots * sm90_tile_k / multiply_adds *
                    static_cast<double>(ceil_div(k_tiles(g), c.split));
  if (t.ping_pong) {
    // One warpgroup finishes its tile in the time of the other's products, or keeps it waiting.
    const bool costly = !g.gated && g.activation != Activation::none;
    products = std::max(products, t.slots * (costly ? 0.05 : 0.035) * (t.general() ? 1.0 : 1.6));
  } else if (rounds > 5) {
    products *= 1.12;  // blocks that drift apart share less in L2
  }
  const double memory =
      2.0 * (static_cast<double>(g.weight_rows()) * g.k + static_cast<double>(g.m) * (g.k + g.n)) /
      bytes;
  // The longer of the two hides most of the other.
  const double main =
      std::sqrt(std::sqrt(to_the_fourth(rounds * products) + to_the_fourth(memory)));
  if (t.ping_pong) return 2.1 + main + t.epilogue;
  const std::int64_t at_once = places * (t.per_multiprocessor == 2 && clusters > places ? 2 : 1);
  const double ends = static_cast<double>(ceil_div(clusters, at_once)) * t.epilogue;
  return main + ends + (c.split > 1 ? 1.67 + 0.15 * (c.split - 1) : 0.0);
}

Sm90Choice sm90_choose(const Gemm& g, const DeviceState& device) {
  // One tile for all M where a row's bits must not depend on it.
  if (g.batch_invariant) return choice_of(g, sm90_tiles()[0], 1, device);
  const Sm90Override* const entry = sm90_override(g, device.sm_count);
  Sm90Choice best;
  double least = std::numeric_limits<double>::max();
  for_each_choice(g, device, [&](const Sm90Choice& c) {
    const double time = entry != nullptr && is(c, *entry) ? -1.0 : sm90_microseconds(g, c, device);
    if (time < least) {
      least = time;
      best = c;
    }
  });
  return best;
}

std::string to_string(const Sm90Choice& c) {
  const Sm90Tile& t = *c.tile;
  std::string s = t.ping_pong ? "ping-pong" : "block";
  s += " " + std::to_string(t.rows) + "x" + std::to_string(t.slots) + "x64";
  if (t.cluster > 1) {
    s += std::string(", cluster ") + std::to_string(t.cluster) + " shares " +
         (t.share == Sm90Share::x ? "x" : "weight");
  }
  if (c.split > 1) s += ", k in " + std::to_string(c.split) + " parts";
  if (c.stages > 0) s += ", " + std::to_string(c.stages) + " stages";
  return s + ", " + std::to_string(c.blocks) + " blocks";
}

void sm90_launch(const Gemm& g, const Sm90Choice& c, ContextState& context) {
  const DeviceGuard guard(context.device.index);
  const WeightOperand& w = g.weight;
  const Sm90Tile& t = *c.tile;
  Sm90Args a;
  a.x = tensor_map(
      {g.x.data, g.x.dtype, g.k, g.m, tma_stride(g.m, g.x.stride, g.k, g.x.dtype), t.x_lines()});
  const TiledMatrix weight{
      w.data,          w.dtype, g.k, g.n, tma_stride(g.weight_rows(), w.stride_n, g.k, w.dtype),
      t.weight_lines()};
  a.epilogue = epilogue_args(g);
  if (g.gated) {
    a.epilogue.up_first = g.up_row() < g.gate_row();
    a.weight = interleaved_tensor_map(weight, g.n * weight.stride);
  } else {
    a.weight = tensor_map(weight);
  }
  a.loop = epilogue_loop(a.epilogue, g.x.dtype);
  a.k_tiles = static_cast<int>(k_tiles(g));
  a.tiles_m = static_cast<int>(c.tiles_m);
  a.tiles = static_cast<int>(c.tiles_m * c.tiles_n);
  a.clusters = static_cast<int>(c.blocks) / (t.cluster * c.split);
  const int raster = static_cast<int>(std::min<std::int64_t>(c.raster, c.tiles_m));
  const int last = a.tiles_m % raster;
  a.raster = cutlass::FastDivmod(raster);
  a.last_rows = cutlass::FastDivmod(last > 0 ? last : raster);
  a.group_tiles = cutlass::FastDivmod(static_cast<int>(raster * c.tiles_n));
  a.split = c.split;
  a.stages = c.stages;
  const DeviceState& device = device_state(context);
  a.weight_ahead = device.programmatic && !g.leads;
  t.launch(a, {g.x.dtype, c.blocks, device.programmatic, stream_of(context)});
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
