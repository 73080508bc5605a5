// Copies of rows, in the widest units that their addresses allow, and of matrices, transposed in
// shared memory.
#include "cuda/copy.hpp"

#include "cuda/column_tiles.cuh"
#include "cuda/launch.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace {

constexpr int threads = ColumnTiles::max_threads;
constexpr int resident = 4;  // blocks a multiprocessor

// Strides in units of one Unit.
struct RowsCopy {
  const void* from = nullptr;
  void* to = nullptr;
  std::int64_t from_stride = 0;
  std::int64_t to_stride = 0;
  ColumnTiles tiles;
};

// Rows that a thread reads before it writes the first.
template <class Unit>
constexpr int together = sizeof(Unit) == 16 ? 4 : 16;

template <class Unit>
__global__ void __launch_bounds__(threads, resident)
    copy_units(const __grid_constant__ RowsCopy a) {
  release_successor();
  await_predecessor();
  const TilePlace place = TilePlace::of(a.tiles);
  const Unit* from = static_cast<const Unit*>(a.from) + place.unit;
  Unit* to = static_cast<Unit*>(a.to) + place.unit;
  for (std::int64_t first = place.row; first < a.tiles.m; first += together<Unit> * place.step) {
    Unit held[together<Unit>];
#pragma unroll
    for (int i = 0; i < together<Unit>; ++i) {
      const std::int64_t row = first + i * place.step;
      if (row < a.tiles.m) held[i] = from[row * a.from_stride];
    }
#pragma unroll
    for (int i = 0; i < together<Unit>; ++i) {
      const std::int64_t row = first + i * place.step;
      if (row < a.tiles.m) to[row * a.to_stride] = held[i];
    }
  }
}

// Calls function(Unit()) with the widest unsigned integer whose size divides `bits`.
template <class Function>
void with_unit(std::uint64_t bits, Function&& function) {
  if (bits % 16 == 0) {
    function(uint4());
  } else if (bits % 4 == 0) {
    function(std::uint32_t());
  } else if (bits % 2 == 0) {
    function(std::uint16_t());
  } else {
    function(std::uint8_t());
  }
}

// Tiles of 32 by 32, a block 32 threads wide and 8 high.
constexpr int side = 32;

struct MatrixCopy {
  const void* from = nullptr;
  void* to = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t from_row = 0, from_column = 0, to_row = 0, to_column = 0;  // strides
  std::int64_t tiles_a_row = 0;
  std::int64_t tiles = 0;
};

// Neighbouring threads read along the dimension in which `from` has stride 1, and write along that
// of `to`.
template <class Unit>
__global__ void __launch_bounds__(threads) copy_tiles(const __grid_constant__ MatrixCopy a) {
  __shared__ Unit tile[side][side + 1];
  // Releases nobody early: what it writes may be a weight that the next kernel reads ahead.
  await_predecessor();
  const int lane = static_cast<int>(threadIdx.x) % side;
  const int first = static_cast<int>(threadIdx.x) / side;
  for (std::int64_t t = blockIdx.x; t < a.tiles; t += gridDim.x) {
    const std::int64_t row0 = t / a.tiles_a_row * side;
    const std::int64_t column0 = t % a.tiles_a_row * side;
    for (int line = first; line < side; line += threads / side) {
      const int row = a.from_column == 1 ? line : lane;
      const int column = a.from_column == 1 ? lane : line;
      if (row0 + row < a.rows && column0 + column < a.columns) {
        tile[row][column] = static_cast<const Unit*>(
            a.from)[(row0 + row) * a.from_row + (column0 + column) * a.from_column];
      }
    }
    __syncthreads();
    for (int line = first; line < side; line += threads / side) {
      const int row = a.to_column == 1 ? line : lane;
      const int column = a.to_column == 1 ? lane : line;
      if (row0 + row < a.rows && column0 + column < a.columns) {
        static_cast<Unit*>(a.to)[(row0 + row) * a.to_row + (column0 + column) * a.to_column] =
            tile[row][column];
      }
    }
    __syncthreads();
  }
}

}  // namespace

void copy_rows(const Rows& from, const Rows& to, std::int64_t m, std::int64_t h,
               const ContextState& context) {
  if (m == 0 || h == 0) return;
  const auto size = static_cast<std::int64_t>(size_of(from.dtype));
  const std::int64_t from_pitch = m > 1 ? from.stride * size : 0;
  const std::int64_t to_pitch = m > 1 ? to.stride * size : 0;
  const std::uint64_t bits = reinterpret_cast<std::uintptr_t>(from.data) |
                             reinterpret_cast<std::uintptr_t>(to.data) |
                             static_cast<std::uint64_t>(from_pitch | to_pitch | h * size);
  with_unit(bits, [&](auto unit) {
    using Unit = decltype(unit);
    constexpr auto unit_size = static_cast<std::int64_t>(sizeof(Unit));
    RowsCopy a;
    a.from = from.data;
    a.to = to.data;
    a.from_stride = from_pitch / unit_size;
    a.to_stride = to_pitch / unit_size;
    a.tiles = column_tiles(m, h * size / unit_size, resident, device_state(context));
    launch("cuda.copy_rows", copy_units<Unit>,
           shape_of(a.tiles, stream_of(context), device_state(context)), a);
  });
}

void copy_matrix(const TensorView& from, const TensorView& to, const ContextState& context) {
  if (from.numel() == 0) return;
  MatrixCopy a;
  a.from = from.data();
  a.to = to.data();
  a.rows = from.size(0);
  a.columns = from.size(1);
  a.from_row = from.stride(0);
  a.from_column = from.stride(1);
  a.to_row = to.stride(0);
  a.to_column = to.stride(1);
  a.tiles_a_row = (a.columns + side - 1) / side;
  a.tiles = a.tiles_a_row * ((a.rows + side - 1) / side);
  LaunchShape shape{grid_of(a.tiles), threads, stream_of(context)};
  shape.programmatic = device_state(context).programmatic;
  switch (size_of(from.dtype())) {
    case 4:
      return launch("cuda.copy_matrix", copy_tiles<std::uint32_t>, shape, a);
    case 2:
      return launch("cuda.copy_matrix", copy_tiles<std::uint16_t>, shape, a);
    default:
      return launch("cuda.copy_matrix", copy_tiles<std::uint8_t>, shape, a);
  }
}

void load_copy() {
  load_kernel(copy_units<uint4>);
  load_kernel(copy_units<std::uint32_t>);
  load_kernel(copy_units<std::uint16_t>);
  load_kernel(copy_units<std::uint8_t>);
  load_kernel(copy_tiles<std::uint32_t>);
  load_kernel(copy_tiles<std::uint16_t>);
  load_kernel(copy_tiles<std::uint8_t>);
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
