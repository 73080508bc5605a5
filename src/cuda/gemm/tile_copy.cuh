// What GEMMs that fetch their tiles with cp.async share on the device: which tile is a block's, and
// the copies of its operands to shared memory.
//
// Tiles of x are kept as they lie in memory, k running fastest; tiles of the weight likewise, with
// k or, for an [in, out] weight, the slots (see epilogue.cuh) running fastest. What lies outside
// the matrices is filled with zeros.
#pragma once

#include <cstdint>

#include "cuda/epilogue/epilogue.cuh"
#include "cuda/gemm/cp_async.cuh"
#include "cuda/gemm/tiled.hpp"

namespace postlude {
namespace detail {
namespace cuda {

inline constexpr int piece_bytes = 16;  // what moves together
inline constexpr int raster_group = 8;  // row tiles that share the weight tiles they read, in L2

// The bytes of an element, the threads of a block and the k of a tile.
template <int ElementBytes, int Threads, int TileK>
struct Blocking {
  static constexpr int element_bytes = ElementBytes;
  static constexpr int threads = Threads;
  static constexpr int tile_k = TileK;
  static constexpr int piece = piece_bytes / ElementBytes;  // elements
};

// How many bytes of a piece there are to read where `left` elements remain.
template <class B>
__device__ inline int bytes_left(std::int64_t left) {
  return left >= B::piece ? piece_bytes : left <= 0 ? 0 : B::element_bytes * static_cast<int>(left);
}

// Lines of a tile in shared memory, of Bytes each. Their pieces are permuted by the line's number,
// modulo Period, times Factor.
template <int Bytes, int Period = 8, int Factor = 1>
struct Lines {
  static constexpr int bytes = Bytes;
  static constexpr int pieces = Bytes / piece_bytes;
  static constexpr int period = Period;
  __device__ static int offset(int line, int index) {
    return line * bytes + (index ^ ((line & (Period - 1)) * Factor)) * piece_bytes;
  }
};

// How a thread copies its part of a tile of Count lines L: of every step-th line, the piece number
// index().
template <class B, class L, int Count>
struct LineCopy {
  static constexpr int step = B::threads / L::pieces;
  static constexpr int count = Count / step;
  static_assert(Count % step == 0 && step % L::period == 0,
                "all lines of a thread are permuted alike");

  __device__ static int line() { return static_cast<int>(threadIdx.x) / L::pieces; }
  __device__ static int index() { return static_cast<int>(threadIdx.x) % L::pieces; }

  // to: the tile; from: the thread's piece of its first line; stride: bytes from one of its lines
  // to the next; lines: how many of its lines exist; bytes: how many of each piece do; vector: all
  // pieces are aligned to 16 bytes.
  __device__ static void run(char* to, const char* from, std::int64_t stride, int lines, int bytes,
                             bool vector) {
    to += L::offset(line(), index());
    if (vector && bytes % piece_bytes == 0) {  // a piece that the end of k cuts goes by elements
#pragma unroll
      for (int i = 0; i < count; ++i) {
        copy_async(to + i * step * L::bytes, from + i * stride, i < lines ? bytes : 0);
      }
    } else {
#pragma unroll 1
      for (int i = 0; i < count; ++i) {
        copy_elements<B::element_bytes>(to + i * step * L::bytes, from + i * stride,
                                        i < lines ? bytes : 0);
      }
    }
  }
};

// The number of a thread's lines first, first + step, first + 2 step, ... that are below `end`.
__device__ inline int lines_below(std::int64_t first, int step, std::int64_t end) {
  const std::int64_t left = end - first;
  return left <= 0 ? 0 : left >= 1024 ? 1024 : (static_cast<int>(left) + step - 1) / step;
}

// Lines of a tile along k.
template <class B>
using KLines = Lines<B::element_bytes * B::tile_k>;

// The part of x that one thread copies of each tile along k.
template <class B, int Rows>
struct XCopy {
  using Copy = LineCopy<B, KLines<B>, Rows>;
  const char* from;
  std::int64_t stride;
  std::int64_t left;  // elements of k from the thread's first piece on
  int lines;
  bool vector;

  __device__ XCopy(const TiledArgs& a, std::int64_t m0) {
    const std::int64_t row = m0 + Copy::line();
    from = static_cast<const char*>(a.x) +
           B::element_bytes * (row * a.x_stride + B::piece * Copy::index());
    stride = B::element_bytes * Copy::step * a.x_stride;
    left = a.k - B::piece * Copy::index();
    lines = lines_below(row, Copy::step, a.epilogue.m);
    vector = a.x_vector;
  }

  __device__ void run(char* to, std::int64_t k0) const {
    Copy::run(to, from + B::element_bytes * k0, stride, lines, bytes_left<B>(left - k0), vector);
  }
};

// The same for a weight: [out, in], where a line is a slot. Where gated, a thread's lines, a
// multiple of 16 slots apart, are half as many rows of one half apart.
template <class B, int Slots>
struct OutInCopy {
  using Copy = LineCopy<B, KLines<B>, Slots>;
  static_assert(Copy::step % 16 == 0, "whole groups of slots");
  const char* from;
  std::int64_t stride;
  std::int64_t left;
  int lines;
  bool vector;

  __device__ OutInCopy(const TiledArgs& a, std::int64_t n0) {
    const Slot slot = slot_of(a.epilogue, n0, Copy::line());
    const int step = tile_columns(a.epilogue.gated, Copy::step);
    from = static_cast<const char*>(a.weight) +
           B::element_bytes * (slot.weight_row * a.weight_stride + B::piece * Copy::index());
    stride = B::element_bytes * step * a.weight_stride;
    left = a.k - B::piece * Copy::index();
    lines = lines_below(slot.column, step, a.epilogue.n);
    vector = a.weight_vector;
  }

  __device__ void run(char* to, std::int64_t k0) const {
    Copy::run(to, from + B::element_bytes * k0, stride, lines, bytes_left<B>(left - k0), vector);
  }
};

// The same for a weight [in, out], where a line L is a k, and a piece holds slots of one half.
template <class B, class L>
struct InOutCopy {
  using Copy = LineCopy<B, L, B::tile_k>;
  const char* from;
  std::int64_t pitch;
  std::int64_t k;
  int bytes;
  bool vector;

  __device__ InOutCopy(const TiledArgs& a, std::int64_t n0) {
    const Slot slot = slot_of(a.epilogue, n0, B::piece * Copy::index());
    from = static_cast<const char*>(a.weight) +
           B::element_bytes * (slot.weight_row + Copy::line() * a.weight_stride);
    pitch = B::element_bytes * a.weight_stride;
    k = a.k;
    bytes = bytes_left<B>(a.epilogue.n - slot.column);
    vector = a.weight_vector;
  }

  __device__ void run(char* to, std::int64_t k0) const {
    Copy::run(to, from + k0 * pitch, Copy::step * pitch,
              lines_below(k0 + Copy::line(), Copy::step, k), bytes, vector);
  }
};

// Block number -> tile: down groups of rows first, so that blocks that run together share weight
// tiles in L2.
__device__ inline void tile_of(std::int64_t block, const TiledArgs& a, std::int64_t& tile_m,
                               std::int64_t& tile_n) {
  const std::int64_t a_group = raster_group * a.tiles_n;
  const std::int64_t first = block / a_group * raster_group;
  const std::int64_t rows = a.tiles_m - first < raster_group ? a.tiles_m - first : raster_group;
  tile_m = first + block % a_group % rows;
  tile_n = block % a_group / rows;
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
