// The Hopper GEMM's tiles and the choice among them: see sm90_tiles.hpp.
#include "cuda/gemm/sm90_tiles.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cuda/gemm/sm90_overrides.hpp"
#include "cuda/gemm/tensor_map.hpp"
#include "memo.hpp"

namespace postlude {
namespace detail {
namespace cuda {
namespace {

constexpr int max_cluster = 8;
constexpr int shared_bytes = 227 * 1024;
constexpr int least_stages = 3;  // where two blocks share a multiprocessor

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
// Stages of k.
std::int64_t k_stages(const Gemm& g, const Sm90Tile& t) {
  return ceil_div(g.k, sm90_tile_k * t.depth());
}

// Shared memory for the rows of x that a block normalises itself: its part of k.
int norm_bytes(const Gemm& g, const Sm90Tile& t, int split) {
  if (!g.norm) return 0;
  return static_cast<int>(ceil_div(k_stages(g, t), split)) * t.depth() * t.rows * sm90_tile_k * 2;
}

// Stages where so many blocks are to run on a multiprocessor at once: all that fit, but no more
// than the block's part of k has, as long as one block more would not fit.
int stages_of(const Gemm& g, const Sm90Choice& c, int at_once) {
  const int others = sm90_header_bytes + norm_bytes(g, *c.tile, c.split);
  const int bytes = shared_bytes / at_once - (at_once > 1 ? 1024 : 0) - others;
  const int most = std::min(bytes / c.tile->stage_bytes(), sm90_max_stages);
  const int least = (shared_bytes / (at_once + 1) - others) / c.tile->stage_bytes() + 1;
  const auto of_k = static_cast<int>(ceil_div(k_stages(g, *c.tile), c.split));
  return std::min(most, std::max(least, of_k));
}

template <int Slots, int Cluster>
Sm90Tile ping_pong(double step, double epilogue) {
  using Kernel = Sm90PingPong<Slots, Cluster>;
  return {Sm90Kernel::ping_pong, Kernel::rows, Slots, Cluster, 1, step, epilogue,
          &Kernel::launch,       &Kernel::load};
}

template <int Rows, int Slots, int Cluster>
Sm90Tile block(double step, double epilogue) {
  using Kernel = Sm90Block<Rows, Slots, Cluster, false>;
  const int at_once = Rows * Slots <= 128 * 128 ? 2 : 1;
  return {Sm90Kernel::block, Rows,         Slots, Cluster, at_once, step, epilogue,
          &Kernel::launch,   &Kernel::load};
}

template <int Rows, int Slots, int Cluster>
Sm90Tile swap(double step, double epilogue) {
  using Kernel = Sm90Block<Rows, Slots, Cluster, true>;
  const int at_once = Rows * Slots <= 128 * 128 ? 2 : 1;
  return {Sm90Kernel::swap, Rows,         Slots, Cluster, at_once, step, epilogue,
          &Kernel::launch,  &Kernel::load};
}

// Clusters of c blocks that run at once, one block a multiprocessor.
std::int64_t clusters_at_once(const DeviceState& device, int c) {
  return std::max(1, device.clusters_at_once[c]);
}

Sm90Choice choice_of(const Gemm& g, const Sm90Tile& t, int split, const DeviceState& device) {
  Sm90Choice c;
  c.tile = &t;
  c.split = split;
  const bool along_m = t.ping_pong();
  c.tiles_m = ceil_div(ceil_div(g.m, t.rows), along_m ? t.cluster : 1);
  c.tiles_n = ceil_div(ceil_div(g.weight_rows(), t.slots), along_m ? 1 : t.cluster);
  c.raster = std::max(1, 8 / (along_m ? t.cluster : 1));
  const std::int64_t clusters = c.tiles_m * c.tiles_n;
  if (t.ping_pong()) {
    c.blocks = static_cast<unsigned>(std::min<std::int64_t>(clusters, device.sm_count / t.cluster) *
                                     t.cluster);
    return c;
  }
  const std::int64_t blocks = clusters * t.cluster * split;
  c.blocks = static_cast<unsigned>(std::min<std::int64_t>(blocks, 2147483647));
  // Where all blocks run at once, one a multiprocessor, none should take two: they get memory that
  // two do not fit beside.
  const bool two = clusters > clusters_at_once(device, t.cluster * split);
  c.at_once = t.at_once == 2 && two && stages_of(g, c, 2) >= least_stages ? 2 : 1;
  c.stages = stages_of(g, c, c.at_once);
  return c;
}

// A swapped tile of few rows costs more than its rows say: it is for as few rows, or for more of
// which no quarter of a tile is left empty.
bool suits(const Sm90Tile& t, const Gemm& g) {
  if (t.kernel != Sm90Kernel::swap) return !g.norm;
  if (g.norm) return t.rows == sm90_norm_rows && t.slots == sm90_norm_slots;
  if (g.m > 32 && t.rows >= 32 && ceil_div(g.m, t.rows) * t.rows <= g.m + g.m / 3) return true;
  for (const Sm90Tile& other : sm90_tiles()) {
    if (other.kernel == Sm90Kernel::swap && other.rows >= g.m && other.rows < t.rows) return false;
  }
  return t.rows >= g.m;
}

bool can_run(const Gemm& g, const Sm90Tile& t, EpilogueLoop loop) {
  if (g.gated && t.weight_lines() % 16 != 0) return false;
  if (loop == EpilogueLoop::general && !t.general()) return false;
  return suits(t, g);
}

bool can_split(const Gemm& g, const Sm90Tile& t, int split) {
  if (split == 1) return true;
  return !t.ping_pong() && !g.batch_invariant && split <= max_cluster / t.cluster &&
         split <= k_stages(g, t);
}

// Splitting is for problems with fewer tiles than multiprocessors.
bool too_many_blocks(const Sm90Choice& c, const DeviceState& device) {
  return c.blocks == 2147483647 ||
         (c.split > 1 && c.blocks > 2 * static_cast<unsigned>(device.sm_count));
}

// Calls function(choice) with all that could run a problem.
template <class Function>
void for_each_choice(const Gemm& g, const DeviceState& device, Function&& function) {
  const EpilogueLoop loop = epilogue_loop(epilogue_args(g), g.x.dtype);
  for (const Sm90Tile& t : sm90_tiles()) {
    if (!can_run(g, t, loop)) continue;
    for (int split = 1; can_split(g, t, split); ++split) {
      const Sm90Choice c = choice_of(g, t, split, device);
      if (too_many_blocks(c, device)) break;
      function(c);
    }
  }
}

// The choice of the table's entry for a problem; without a tile where it has none or that does not
// run the problem.
Sm90Choice table_choice(const Gemm& g, const DeviceState& device) {
  const Sm90Override* const entry = sm90_override(g, device.sm_count);
  if (entry == nullptr || g.batch_invariant) return {};
  for (const Sm90Tile& t : sm90_tiles()) {
    if (t.kernel != entry->kernel || t.rows != entry->rows || t.slots != entry->slots ||
        t.cluster != entry->cluster) {
      continue;
    }
    const bool fits =
        can_run(g, t, epilogue_loop(epilogue_args(g), g.x.dtype)) && can_split(g, t, entry->split);
    return fits ? choice_of(g, t, entry->split, device) : Sm90Choice{};
  }
  return {};
}

double to_the_fourth(double v) { return v * v * v * v; }

}  // namespace

const std::vector<Sm90Tile>& sm90_tiles() {
  static const std::vector<Sm90Tile> tiles = {
      ping_pong<128, 1>(1.20, 1.2),  ping_pong<128, 2>(1.20, 1.5),  ping_pong<160, 2>(1.19, 2.2),
      block<128, 96, 1>(1.48, 2.2),  block<128, 112, 1>(1.68, 2.4), block<128, 128, 2>(1.23, 3.7),
      block<128, 144, 1>(1.24, 3.5), block<128, 160, 1>(1.04, 4.6), block<128, 192, 1>(1.22, 3.1),
      block<128, 200, 1>(1.10, 4.6), block<128, 224, 1>(1.20, 4.2), block<192, 192, 1>(1.16, 5.1),
      block<256, 96, 1>(1.16, 3.6),  block<256, 128, 1>(1.13, 4.2), block<256, 152, 1>(1.19, 4.2),
      block<256, 192, 1>(1.19, 3.6), block<256, 200, 1>(1.13, 5.7), swap<8, 64, 1>(10.0, 0.7),
      swap<8, 128, 1>(9.6, 0.5),     swap<16, 64, 1>(5.1, 0.8),     swap<32, 64, 1>(3.8, 1.8),
      swap<48, 64, 1>(2.7, 1.5),     swap<64, 64, 1>(2.0, 1.6),     swap<96, 64, 1>(1.65, 1.9),
      swap<128, 64, 1>(1.42, 2.0),   swap<168, 64, 1>(1.44, 2.4),   swap<88, 192, 1>(1.40, 2.1),
      swap<112, 128, 1>(1.49, 1.9),  swap<128, 128, 1>(1.32, 2.3),  swap<160, 128, 1>(1.24, 2.4),
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
  constexpr double bytes = 4.1e6;                  // of memory in a microsecond
  const Sm90Tile& t = *c.tile;
  const std::int64_t clusters = c.tiles_m * c.tiles_n;
  const std::int64_t places = clusters_at_once(device, t.cluster * c.split);
  const auto rounds = static_cast<double>(ceil_div(clusters, places));
  double products = t.step * t.rows * t.slots * sm90_tile_k / multiply_adds *
                    static_cast<double>(ceil_div(k_stages(g, t), c.split) * t.depth());
  if (t.ping_pong()) {
    // One warpgroup finishes its tile in the time of the other's products, or keeps it waiting.
    const bool costly = !g.gated && g.activation != Activation::none;
    products = std::max(products, t.slots * (costly ? 0.05 : 0.035) * (t.general() ? 1.0 : 1.6));
  }
  // Blocks that drift apart share less in L2.
  if (rounds > 5 && !(t.ping_pong() && t.cluster > 1)) products *= t.ping_pong() ? 1.03 : 1.12;
  const double memory =
      2.0 * (static_cast<double>(g.weight_rows()) * g.k + static_cast<double>(g.m) * (g.k + g.n)) /
      bytes;
  // The longer of the two hides most of the other.
  const double main =
      std::sqrt(std::sqrt(to_the_fourth(rounds * products) + to_the_fourth(memory)));
  if (t.ping_pong()) return 2.1 + main + t.epilogue;
  const std::int64_t at_once = places * (c.at_once == 2 && clusters > places ? 2 : 1);
  const double ends = static_cast<double>(ceil_div(clusters, at_once)) * t.epilogue;
  if (c.split == 1) return main + ends;
  return main + ends + 2.1 + 0.35 * (c.split - 1) + 7.5e-5 * t.rows * t.slots;  // adding the parts
}

namespace {

Sm90Choice best_choice(const Gemm& g, const DeviceState& device) {
  Sm90Choice best = table_choice(g, device);
  if (best.tile != nullptr) return best;
  double least = std::numeric_limits<double>::max();
  for_each_choice(g, device, [&](const Sm90Choice& c) {
    const double time = sm90_microseconds(g, c, device);
    if (time < least) {
      least = time;
      best = c;
    }
  });
  return best;
}

}  // namespace

// Going through all tiles takes longer than a launch, so that what was chosen is kept for the next
// call of the same shape. All that the choice looks at is among the arguments.
Sm90Choice sm90_choose(const Gemm& g, const DeviceState& device) {
  thread_local Memo<6, Sm90Choice, 256> choices;
  std::int64_t clusters = 0;
  for (int size = 2; size <= max_cluster; ++size) {
    clusters = clusters * 256 + device.clusters_at_once[size];
  }
  const auto loop = static_cast<std::int64_t>(epilogue_loop(epilogue_args(g), g.x.dtype));
  const bool flags[] = {g.gated, g.activation != Activation::none, g.norm.has_value(),
                        g.batch_invariant};
  std::int64_t kind = loop;
  for (const bool flag : flags) kind = 2 * kind + (flag ? 1 : 0);
  return choices.get({g.m, g.n, g.k, kind, clusters, device.sm_count},
                     [&] { return best_choice(g, device); });
}

std::string to_string(const Sm90Choice& c) {
  const Sm90Tile& t = *c.tile;
  std::string s = t.ping_pong() ? "ping-pong" : t.kernel == Sm90Kernel::swap ? "swap-AB" : "block";
  s += " " + std::to_string(t.rows) + "x" + std::to_string(t.slots) + "x64";
  if (t.cluster > 1) {
    s += std::string(", cluster ") + std::to_string(t.cluster) + " shares " +
         (t.ping_pong() ? "weight" : "x");
  }
  if (c.split > 1) s += ", k in " + std::to_string(c.split) + " parts";
  if (c.stages > 0) s += ", " + std::to_string(c.stages) + " stages";
  return s + ", " + std::to_string(c.blocks) + " blocks";
}

std::string sm90_name(const Sm90Choice& c) {
  const Sm90Tile& t = *c.tile;
  const char* const kernels[] = {"ping_pong", "block", "swap"};
  return std::string(kernels[static_cast<int>(t.kernel)]) + "_" + std::to_string(t.rows) + "x" +
         std::to_string(t.slots) + "_c" + std::to_string(t.cluster) + "_s" +
         std::to_string(c.split);
}

int sm90_number(const std::string& name) {
  for (std::size_t i = 0; i < sm90_tiles().size(); ++i) {
    Sm90Choice c;
    c.tile = &sm90_tiles()[i];
    for (c.split = 1; c.split <= max_cluster; ++c.split) {
      if (sm90_name(c) == name) return static_cast<int>(i) * max_cluster + c.split - 1;
    }
  }
  return -1;
}

Sm90Choice sm90_numbered(int number, const Gemm& g, const DeviceState& device) {
  const Sm90Tile& t = sm90_tiles()[static_cast<std::size_t>(number / max_cluster)];
  const int split = number % max_cluster + 1;
  const EpilogueLoop loop = epilogue_loop(epilogue_args(g), g.x.dtype);
  if (!can_run(g, t, loop) || !can_split(g, t, split)) return {};
  const Sm90Choice c = choice_of(g, t, split, device);
  return too_many_blocks(c, device) ? Sm90Choice{} : c;
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
  a.k_tiles = static_cast<int>(k_stages(g, t));
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
  if (g.norm) {
    a.norm_bytes = norm_bytes(g, t, c.split);
    a.norm = norm_args(*g.norm);
    a.norm.split = row_split<__nv_bfloat16>(g.k);
  }
  const DeviceState& device = device_state(context);
  a.weight_ahead = device.programmatic && g.weights_static;
  a.weight_once = c.tiles_m == 1;
  t.launch(a, {g.x.dtype, c.blocks, device.programmatic, stream_of(context)});
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
