// The Hopper GEMM's tiles and the choice among them: a closed-form model of their time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cuda/device.hpp"
#include "cuda/gemm/sm90.hpp"

namespace postlude {
namespace detail {
namespace cuda {

enum class Sm90Kernel : std::uint8_t { ping_pong, block, swap };

// One compiled kernel.
struct Sm90Tile {
  Sm90Kernel kernel;
  int rows;
  int slots;
  int cluster;
  int at_once;      // blocks that may run on a multiprocessor at once
  double step;      // measured time of a step of k over that of its multiply-adds alone
  double epilogue;  // measured microseconds of one tile's start and end
  void (*launch)(const Sm90Args&, const Sm90Launch&);
  void (*load)();

  bool ping_pong() const { return kernel == Sm90Kernel::ping_pong; }
  // It has the epilogue's general loop.
  bool general() const { return !ping_pong() || slots <= 128; }
  int depth() const {  // of a stage
    return kernel == Sm90Kernel::swap ? sm90_swap_depth(rows, slots) : 1;
  }
  int stage_bytes() const { return 2 * (rows + slots) * sm90_tile_k * depth(); }
  // Lines of a TMA box: the blocks of a cluster share the weight in ping-pong, else x.
  int x_lines() const { return ping_pong() ? rows : rows / cluster; }
  int weight_lines() const { return ping_pong() ? slots / cluster : slots; }
};

const std::vector<Sm90Tile>& sm90_tiles();

// A tile and how it is run.
struct Sm90Choice {
  const Sm90Tile* tile = nullptr;
  int split = 1;    // parts of k
  int at_once = 1;  // blocks of a block kernel that fit on a multiprocessor
  int stages = 0;   // of a block kernel; 0: compiled in
  int raster = 1;
  std::int64_t tiles_m = 0;  // of clusters
  std::int64_t tiles_n = 0;
  unsigned blocks = 0;
};

// All that could run a problem.
std::vector<Sm90Choice> sm90_choices(const Gemm& gemm, const DeviceState& device);
// What the model expects, in microseconds on an H200.
double sm90_microseconds(const Gemm& gemm, const Sm90Choice& choice, const DeviceState& device);
// The one that runs it.
Sm90Choice sm90_choose(const Gemm& gemm, const DeviceState& device);
std::string to_string(const Sm90Choice& choice);
// Tiles by name, for tune files: "swap_16x64_c1_s2" is the swapped kernel of 16 rows and 64 slots
// in clusters of 1, with k in 2 parts. By its number a name is found once; -1 for one of no tile.
std::string sm90_name(const Sm90Choice& choice);
int sm90_number(const std::string& name);
// The choice of such a number; without a tile where it is not among sm90_choices.
Sm90Choice sm90_numbered(int number, const Gemm& gemm, const DeviceState& device);
void sm90_launch(const Gemm& gemm, const Sm90Choice& choice, ContextState& context);

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
