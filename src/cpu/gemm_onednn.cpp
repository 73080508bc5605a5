// cpu.onednn: the GEMM in tiles, each a oneDNN product into a cache-sized accumulator followed by
// our epilogue.
//
// A tile is `rows` rows of x times one column panel of the weight, run by one thread. The weight
// panel is packed, or plain, or converted to the compute dtype first (int8 weights, and dtypes that
// oneDNN has no fast kernel for here).
#include <algorithm>
#include <atomic>
#include <cstring>
#include <stdexcept>
#include <string>

#include "cpu/gemm_kernels.hpp"
#include "cpu/isa/tile_ops.hpp"
#include "cpu/matmul_cache.hpp"
#include "cpu/packed_weight.hpp"
#include "cpu/threads.hpp"

namespace postlude {
namespace detail {
namespace {

// Rows of a tile whose bits must not depend on the number of rows: every product has that many, the
// missing ones 0. In oneDNN's brgemm kernels a row's bits do not depend on its place in the tile;
// in others they may, so they get one row.
constexpr std::int64_t invariant_rows = 16;

// How one problem is cut, and what each thread needs.
struct Tiling {
  DType compute = DType::f32;
  bool convert_x = false;
  bool convert_w = false;
  bool pad_rows = false;  // every product has `rows` rows, the missing ones 0
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t row_tiles = 0;
  std::int64_t panels = 0;
  int threads = 1;
  // Primitives by [row tail][column tail]; those of tails that do not occur are null.
  Matmul* matmul[2][2] = {};
  // One thread's workspace.
  std::size_t acc_bytes = 0;  // of one half
  std::size_t x_bytes = 0;
  std::size_t w_bytes = 0;
  std::size_t epilogue_bytes = 0;
  std::size_t scratch_bytes = 0;

  std::size_t thread_bytes(bool gated) const {
    return acc_bytes * (gated ? 2 : 1) + x_bytes + w_bytes + epilogue_bytes + scratch_bytes;
  }
};

const PackedWeight* packed_weight(const Gemm& g) {
  return static_cast<const PackedWeight*>(g.weight.packed);
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

double estimated_microseconds(const Gemm& g) {
  const double products =
      static_cast<double>(g.m) * static_cast<double>(g.weight_rows()) * static_cast<double>(g.k);
  const double weight_bytes = static_cast<double>(g.weight_rows()) * static_cast<double>(g.k) *
                              static_cast<double>(size_of(g.weight.dtype));
  return std::max(products / 25e3, weight_bytes / 10e3);
}

// Looks up the primitives of a tiling; false where oneDNN lacks one.
bool find_matmuls(const Gemm& g, const ContextState& context, Tiling& t) {
  const std::int64_t row_tail = t.pad_rows ? 0 : g.m % t.rows;
  const std::int64_t column_tail = g.n % t.columns;
  MatmulShape shape;
  shape.k = g.k;
  shape.dtype = t.compute;
  shape.ldx = t.convert_x || g.m == 1 ? g.k : g.x.stride;
  shape.packed = g.weight.packed != nullptr;
  if (!shape.packed) {
    shape.w_stride_n = t.convert_w ? g.k : g.weight.stride_n;
    shape.w_stride_k = t.convert_w ? 1 : g.weight.stride_k;
  }
  for (int r = 0; r < 2; ++r) {
    for (int c = 0; c < 2; ++c) {
      t.matmul[r][c] = nullptr;
      shape.m = r == 0 ? (t.pad_rows || g.m >= t.rows ? t.rows : 0) : row_tail;
      shape.n = c == 0 ? (g.n >= t.columns ? t.columns : 0) : column_tail;
      if (shape.m == 0 || shape.n == 0) continue;
      t.matmul[r][c] = cpu_state(context).find(shape, t.threads);
      if (t.matmul[r][c] == nullptr) return false;
      t.scratch_bytes = std::max(t.scratch_bytes, align_up(t.matmul[r][c]->scratch_bytes()));
    }
  }
  return true;
}

bool rows_are_independent(const Tiling& t) {
  for (const auto& by_row : t.matmul) {
    for (const Matmul* matmul : by_row) {
      if (matmul != nullptr && matmul->impl().rfind("brg", 0) != 0) return false;
    }
  }
  return true;
}

bool plain_strides_ok(const WeightOperand& w, std::int64_t n, std::int64_t k) {
  return w.stride_k == 1 ? (w.stride_n >= k || n == 1)
                         : w.stride_n == 1 && (w.stride_k >= n || k == 1);
}

// Looks up the primitives, with one row a tile where more would show in the bits.
bool fit(const Gemm& g, const ContextState& context, Tiling& t) {
  if (!find_matmuls(g, context, t)) return false;
  if (!g.batch_invariant || rows_are_independent(t)) return true;
  t.rows = 1;
  return find_matmuls(g, context, t);
}

// The tiling of a problem, or the reason why there is none.
const char* make_tiling(const Gemm& g, const ContextState& context, Tiling& t) {
  const bool packed = g.weight.packed != nullptr;
  const bool quantized = g.weight.dtype == DType::i8;
  const bool by_k = quantized && g.weight.grouping == Grouping::k;
  t.compute = by_k ? DType::f32 : g.x.dtype;
  t.convert_w = quantized || (!packed && !plain_strides_ok(g.weight, g.weight_rows(), g.k));
  t.pad_rows = g.batch_invariant;
  t.rows = g.batch_invariant ? invariant_rows : canonical_rows;
  if (!g.batch_invariant && size_of(t.compute) == 2 && g.m >= 8 * canonical_rows)
    t.rows = 2 * canonical_rows;
  t.columns =
      packed ? packed_weight(g)->columns : std::min(panel_columns(g.n, g.k, g.x.dtype), g.n);
  t.panels = ceil_div(g.n, t.columns);
  t.threads = team_size(t.panels * ceil_div(g.m, t.rows), estimated_microseconds(g));
  if (g.k > 0) {
    t.convert_x = t.compute != g.x.dtype || t.pad_rows || (g.x.stride < g.k && g.m > 1);
    bool found = fit(g, context, t);
    if (!found && packed) {
      // Packed layouts are made for tiles of canonical_rows: those always run.
      t.pad_rows = t.convert_x = true;
      t.rows = canonical_rows;
      found = fit(g, context, t);
    } else if (!found && t.compute != DType::f32) {
      t.compute = DType::f32;
      t.convert_w = t.convert_x = true;
      found = fit(g, context, t);
    }
    if (!found) return "oneDNN has no optimised matmul for the tile on this machine";
  }
  t.row_tiles = ceil_div(g.m, t.rows);
  const auto tile_bytes = [](std::int64_t elements, std::size_t size) {
    return align_up(static_cast<std::size_t>(elements) * size);
  };
  t.acc_bytes = tile_bytes(t.rows * acc_stride(t.columns), sizeof(float));
  t.x_bytes = t.convert_x ? tile_bytes(t.rows * g.k, size_of(t.compute)) : 0;
  t.w_bytes = t.convert_w ? tile_bytes(t.columns * g.k, size_of(t.compute)) * (g.gated ? 2 : 1) : 0;
  t.epilogue_bytes = tile_bytes(epilogue_scratch(t.columns), sizeof(float));
  return nullptr;
}

// One thread's walk over its tiles.
class Worker {
 public:
  Worker(const Gemm& g, const Tiling& t, int thread, char* workspace)
      : g_(g), t_(t), thread_(thread) {
    const auto take = [&workspace](std::size_t bytes) {
      char* p = workspace;
      workspace += bytes;
      return p;
    };
    for (int half = 0; half < (g.gated ? 2 : 1); ++half)
      acc_[half] = reinterpret_cast<float*>(take(t.acc_bytes));
    x_ = take(t.x_bytes);
    w_ = take(t.w_bytes);
    epilogue_ = reinterpret_cast<float*>(take(t.epilogue_bytes));
    scratch_ = take(t.scratch_bytes);
  }

  // Tiles are numbered panel by panel, so that a panel stays in cache over the rows.
  bool run(Range tiles) {
    std::int64_t panel = -1;
    for (std::int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
      if (tile / t_.row_tiles != panel) {
        panel = tile / t_.row_tiles;
        enter_panel(panel * t_.columns);
      }
      if (!run_tile(tile % t_.row_tiles * t_.rows)) return false;
    }
    return true;
  }

 private:
  void enter_panel(std::int64_t n0) {
    n0_ = n0;
    columns_ = std::min(t_.columns, g_.n - n0);
    if (g_.k == 0) return;
    panel_[0] = weight_panel(g_.gate_row() + n0, w_);
    if (g_.gated) panel_[1] = weight_panel(g_.up_row() + n0, w_ + t_.w_bytes / 2);
  }

  const void* weight_panel(std::int64_t row, char* buffer) const {
    const WeightOperand& w = g_.weight;
    if (w.packed != nullptr) return packed_weight(g_)->panel(row);
    const auto size = static_cast<std::int64_t>(size_of(w.dtype));
    const char* first = static_cast<const char*>(w.data) + row * w.stride_n * size;
    if (!t_.convert_w) return first;
    const auto out_size = static_cast<std::int64_t>(size_of(t_.compute));
    for (std::int64_t n = 0; n < columns_; ++n) {
      convert_row(first + n * w.stride_n * size, row + n, buffer + n * g_.k * out_size);
    }
    return buffer;
  }

  // One weight row (k elements at stride_k) in the compute dtype; scales along k are applied here.
  void convert_row(const char* src, std::int64_t n, char* dst) const {
    const WeightOperand& w = g_.weight;
    const auto size = static_cast<std::int64_t>(size_of(w.dtype));
    const auto out_size = static_cast<std::int64_t>(size_of(t_.compute));
    const bool by_k = w.dtype == DType::i8 && w.grouping == Grouping::k;
    const std::int64_t run = by_k ? w.group : g_.k;
    for (std::int64_t k = 0; k < g_.k; k += run) {
      const float scale = by_k ? w.scales[n * (g_.k / w.group) + k / w.group] : 1.0f;
      if (w.stride_k == 1) {
        ops_.convert(src + k * size, w.dtype, dst + k * out_size, t_.compute, run, scale);
      } else {
        for (std::int64_t i = k; i < k + run; ++i) {
          ops_.convert(src + i * w.stride_k * size, w.dtype, dst + i * out_size, t_.compute, 1,
                       scale);
        }
      }
    }
  }

  const void* x_rows(std::int64_t m0, std::int64_t rows) {
    if (!t_.convert_x) return g_.x.row(m0);
    const auto row_bytes = static_cast<std::size_t>(g_.k) * size_of(t_.compute);
    for (std::int64_t r = 0; r < rows; ++r) {
      ops_.convert(g_.x.row(m0 + r), g_.x.dtype, x_ + static_cast<std::size_t>(r) * row_bytes,
                   t_.compute, g_.k, 1.0f);
    }
    if (t_.pad_rows) {
      std::memset(x_ + static_cast<std::size_t>(rows) * row_bytes, 0,
                  static_cast<std::size_t>(t_.rows - rows) * row_bytes);
    }
    return x_;
  }

  bool run_tile(std::int64_t m0) {
    const std::int64_t rows = std::min(t_.rows, g_.m - m0);
    const Matmul* matmul = t_.matmul[!t_.pad_rows && rows < t_.rows][columns_ < t_.columns];
    const void* x = g_.k > 0 ? x_rows(m0, rows) : nullptr;
    for (int half = 0; half < (g_.gated ? 2 : 1); ++half) {
      if (g_.k == 0) {
        std::memset(acc_[half], 0, t_.acc_bytes);
      } else if (!matmul->run(thread_, x, panel_[half], acc_[half], scratch_)) {
        return false;
      }
    }
    EpilogueTile tile;
    tile.gemm = &g_;
    tile.m0 = m0;
    tile.n0 = n0_;
    tile.rows = rows;
    tile.columns = columns_;
    tile.acc = acc_[0];
    tile.acc_up = acc_[1];
    tile.ld = acc_stride(columns_);
    tile.scale_weights = g_.weight.dtype == DType::i8 && g_.weight.grouping == Grouping::rows;
    tile.scratch = epilogue_;
    ops_.epilogue(tile);
    return true;
  }

  const Gemm& g_;
  const Tiling& t_;
  const TileOps& ops_ = tile_ops();
  int thread_;
  float* acc_[2] = {};
  char* x_ = nullptr;
  char* w_ = nullptr;
  float* epilogue_ = nullptr;
  char* scratch_ = nullptr;
  const void* panel_[2] = {};
  std::int64_t n0_ = 0;
  std::int64_t columns_ = 0;
};

class OnednnGemm : public GemmKernel {
 public:
  const char* name() const override { return "cpu.onednn"; }

  const char* can_run(const Gemm& g, const ContextState& context) const override {
    Tiling t;
    return make_tiling(g, context, t);
  }

  std::size_t workspace(const Gemm& g, const ContextState& context) const override {
    Tiling t;
    make_tiling(g, context, t);
    return static_cast<std::size_t>(t.threads) * t.thread_bytes(g.gated);
  }

  std::string describe(const Gemm& g, const ContextState& context) const override {
    Tiling t;
    make_tiling(g, context, t);
    std::string text = "tile=" + std::to_string(t.rows) + "x" + std::to_string(t.columns) +
                       " compute=" + to_string(t.compute) + " threads=" + std::to_string(t.threads);
    if (t.convert_w) text += " converts weight panels";
    if (t.convert_x) text += t.pad_rows ? " pads rows" : " converts x";
    for (auto& by_row : t.matmul) {
      for (const Matmul* matmul : by_row) {
        if (matmul != nullptr) return text + " impl=" + matmul->impl();
      }
    }
    return text + " impl=none (k is 0)";
  }

  void launch(const Gemm& g, void* workspace, ContextState& context) const override {
    Tiling t;
    make_tiling(g, context, t);
    std::atomic<bool> failed{false};
    run_team(t.threads, [&](int thread, int team) {
      Worker worker(g, t, thread,
                    static_cast<char*>(workspace) +
                        static_cast<std::size_t>(thread) * t.thread_bytes(g.gated));
      if (!worker.run(share(t.panels * t.row_tiles, thread, team))) failed = true;
    });
    if (failed)
      throw std::runtime_error("[" + std::string(g.op) + "] oneDNN failed to execute " +
                               to_string(g));
  }
};

}  // namespace

const GemmKernel& onednn_gemm() {
  static const OnednnGemm kernel;
  return kernel;
}

}  // namespace detail
}  // namespace postlude
