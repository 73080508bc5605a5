// The norm of a few rows of x inside the GEMM that reads them: every block of the swapped kernel
// computes them anew, and there is no kernel of their own ahead of it.
#pragma once

#include "cuda/gemm/sm90_common.cuh"
#include "cuda/norm/held_row.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace sm90 {

inline constexpr int norm_barrier = 2;  // of the first row; 1 is that of all consumers

// Room for the sums of the rows under way, and of those before them.
struct NormSums {
  WarpSums of_warp[2][2 * warpgroup / 32];
};

struct PanelTeam : RowTeam {
  std::uint32_t barrier;

  __device__ void meet() const {
    cutlass::arch::NamedBarrier::sync(static_cast<std::uint32_t>(32 * warps), barrier);
  }
};

// The lines of k that a block multiplies, 64 columns each, in shared memory: `Bytes` a line,
// swizzled as TMA would have left them.
template <int Bytes>
struct Panel {
  char* data;
  int first;  // of k
  int lines;

  __device__ void store(int row, int column, const uint4& run) const {
    const int line = column / sm90_tile_k - first;
    if (line < 0 || line >= lines) return;
    const int piece = column % sm90_tile_k / 8;
    *reinterpret_cast<uint4*>(data + line * Bytes + row * 128 + ((piece ^ (row % 8)) * 16)) = run;
  }
};

// A thread's columns of a row, and of the vectors that they are multiplied with: 16 bytes each, as
// they lie in memory, all on their way at once.
template <class Form>
struct PanelRow {
  using T = typename Form::Type;
  static constexpr int width = Form::width;

  Seat<Form>& seat;
  bool adds;
  uint4 x[held_runs], residual[held_runs], weight[held_runs], bias[held_runs];

  __device__ void load(const NormArgs& a, const RowPath<Form>& path) {
    path.load(a.x, x);
    if (adds) path.load(a.residual, residual);
    load(a.weight, weight);
    load(a.norm_bias, bias);
  }

  // Nothing where the vector is absent or in another dtype.
  __device__ void load(const VectorArg& vector, uint4 (&held)[held_runs]) const {
    const bool wanted = vector.present() && vector.dtype == dtype_of<T>();
#pragma unroll
    for (int i = 0; i < held_runs; ++i) {
      held[i] = load_once(static_cast<const T*>(vector.data) + seat.column_of(i),
                          wanted && seat.active(i));
    }
  }

  __device__ void get(int i, float (&values)[width]) const {
    unpack<T>(x[i], values);
    if (!adds) return;
    float other[width];
    unpack<T>(residual[i], other);
    add(values, other);
  }

  // Lets no fp32 copies live on from one pass over the values to the next.
  __device__ void forget_copies() {
    seat.forget();
#pragma unroll
    for (uint4& p : x) asm volatile("" : "+r"(p.x), "+r"(p.y), "+r"(p.z), "+r"(p.w));
  }
};

// n = norm(x + ...) as the norm kernels compute it, to the bit, into the panel; with `stores` r_out
// and n_out as well. A row has a.split.warps of the `threads`' warps, which take the rows in turn.
template <class T, int Threads, int Bytes>
__device__ __forceinline__ void normalise_rows(const NormArgs& a, const Panel<Bytes>& panel,
                                               bool stores, NormSums& sums, int thread) {
  using Form = RowForm<T, false, true, false>;
  constexpr int width = Form::width;
  const int teams = Threads / 32 / a.split.warps;
  const int team = thread / 32 / a.split.warps;
  const int h = static_cast<int>(a.h), m = static_cast<int>(a.m);
  if (team < teams) {
    Seat<Form> seat;
    seat.lanes = 32;
    seat.lane = thread % 32;
    seat.warp = thread / 32 - team * a.split.warps;
    seat.column = (seat.warp * 32 * held_runs + seat.lane) * width;
    seat.limit = h;
    int turn = 0;
#pragma unroll 1
    for (int at = team; at < m; at += teams, turn ^= 1) {
      seat.row = at;
      const RowPath<Form> path(seat);
      PanelRow<Form> row{seat, a.residual.present()};
      row.load(a, path);
      const PanelTeam own{{32, a.split.warps, seat.warp, seat.columns_of_warp(),
                           &sums.of_warp[turn][team * a.split.warps]},
                          static_cast<std::uint32_t>(norm_barrier + team)};
      const Statistics s = row_statistics<false>(a.kind, a.inverse_h, a.eps, own,
                                                 HeldValues<Form, PanelRow<Form>>{row});
#pragma unroll
      for (int i = 0; i < held_runs; ++i) {
        if (!seat.active(i)) continue;
        float n[width];
        row.get(i, n);
        if (stores && a.r_out.present()) path.store(a.r_out, i, pack<T>(n));
        normalise<false, Usual::none>(a, s, n, [&](const VectorArg& vector, float (&v)[width]) {
          if (vector.dtype == dtype_of<T>()) {
            unpack<T>(&vector == &a.weight ? row.weight[i] : row.bias[i], v);
          } else {
            load_vector<Form, false>(vector, seat.column_of(i), width, v);
          }
        });
        const uint4 run = pack<T>(n);
        if (stores && a.n_out.present()) path.store(a.n_out, i, run);
        panel.store(at, seat.column_of(i), run);
      }
    }
  }
  // The weight's last line reads as zeros past k, and so must x.
  const int tail = (panel.first + panel.lines) * sm90_tile_k - h;
  for (int i = thread; i < m * tail / 8; i += Threads) {
    panel.store(i % m, h + i / m * 8, make_uint4(0, 0, 0, 0));
  }
  cutlass::arch::fence_view_async_shared();
  __syncwarp();
  cutlass::arch::NamedBarrier::sync(Threads, 1);
}

}  // namespace sm90
}  // namespace cuda
}  // namespace detail
}  // namespace postlude
