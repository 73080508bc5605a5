// ColumnTiles: how the threads of an elementwise kernel share rows: each keeps its columns, and
// walks down the rows several at a time.
#pragma once

#include <algorithm>

#include "cuda/device.hpp"
#include "cuda/launch.cuh"

namespace postlude {
namespace detail {
namespace cuda {

// Columns are counted in units: what a thread handles of one row.
struct ColumnTiles {
  static constexpr int max_threads = 256;

  std::int64_t m = 0;
  std::int64_t units = 0;      // of a row
  unsigned columns = 0;        // units of a block
  unsigned rows = 0;           // rows of a block
  unsigned column_blocks = 0;  // blocks side by side
  unsigned row_blocks = 0;     // and one below the other

  unsigned threads() const { return (columns * rows + 31) / 32 * 32; }
};

// `resident` blocks of max_threads are on a multiprocessor at once, and no more are started.
inline ColumnTiles column_tiles(std::int64_t m, std::int64_t units, int resident,
                                const DeviceState& device) {
  constexpr std::int64_t threads = ColumnTiles::max_threads;
  ColumnTiles t;
  t.m = m;
  t.units = units;
  t.column_blocks = grid_of((units + threads - 1) / threads);
  t.columns =
      static_cast<unsigned>(std::min(threads, (units + t.column_blocks - 1) / t.column_blocks));
  t.rows = static_cast<unsigned>(std::min(m, threads / t.columns));
  const std::int64_t blocks = device.sm_count * (resident * threads / t.threads());
  // Every block walks over as many rows, but for one.
  const std::int64_t row_blocks = std::max<std::int64_t>(1, blocks / t.column_blocks);
  t.row_blocks = grid_of(std::min((m + t.rows - 1) / t.rows, row_blocks));
  return t;
}

inline LaunchShape shape_of(const ColumnTiles& tiles, cudaStream_t stream,
                            const DeviceState& device) {
  LaunchShape shape;
  shape.blocks = tiles.column_blocks * tiles.row_blocks;
  shape.threads = tiles.threads();
  shape.stream = stream;
  shape.programmatic = device.programmatic;
  return shape;
}

// A thread's place: it handles `unit` of the rows row, row + step, ... below m. Threads beyond the
// tile have none.
struct TilePlace {
  std::int64_t unit;
  std::int64_t row;
  std::int64_t step;

  __device__ static TilePlace of(const ColumnTiles& t) {
    const unsigned column_block = blockIdx.x % t.column_blocks;
    const unsigned row_block = blockIdx.x / t.column_blocks;
    const unsigned row = threadIdx.x / t.columns;
    const std::int64_t unit =
        static_cast<std::int64_t>(column_block) * t.columns + threadIdx.x % t.columns;
    const bool inside = row < t.rows && unit < t.units;
    return {unit, inside ? static_cast<std::int64_t>(row_block) * t.rows + row : t.m,
            static_cast<std::int64_t>(t.row_blocks) * t.rows};
  }
};

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
