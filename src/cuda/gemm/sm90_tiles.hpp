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

// One compiled kernel.
struct Sm90Tile {
  int rows;
  int slots;
  int cluster;
  Sm90Share share;
  bool ping_pong;
  int per_multiprocessor;  // blocks that may run on one at once
  double step;             // measured time of a step of k over that of its multiply-adds alone
  double epilogue;         // measured microseconds of one tile's start and end
  void (*launch)(const Sm90Args&, const Sm90Launch&);
  void (*load)();

  // It has the epilogue's general loop.
  bool general() const { return !ping_pong || slots <= 128; }
  int stage_bytes() const { return 2 * (rows + slots) * sm90_tile_k; }
  int x_lines() const { return !ping_pong && share == Sm90Share::x ? rows / cluster : rows; }
  int weight_lines() const { return share == Sm90Share::weight ? slots / cluster : slots; }
};

const std::vector<Sm90Tile>& sm90_tiles();

// A tile and how it is run.
struct Sm90Choice {
  const Sm90Tile* tile = nullptr;
  int split = 1;   // parts of k
  int stages = 0;  // of a block kernel; 0: compiled in
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
void sm90_launch(const Gemm& gemm, const Sm90Choice& choice, ContextState& context);

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
