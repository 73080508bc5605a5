// The Hopper GEMM as one of the backend's kernels: what it runs.
#include <limits>
#include <string>
#include <vector>

#include "cuda/device.hpp"
#include "cuda/gemm/kernels.hpp"
#include "cuda/gemm/sm90_tiles.hpp"
#include "cuda/gemm/tensor_map.hpp"

namespace postlude {
namespace detail {
namespace cuda {
namespace {

// Null where the blocks can normalise x themselves.
const char* norm_refusal(const Gemm& g) {
  const NormCall& c = *g.norm;
  if (g.batch_invariant) return "batch_invariant, and its own norm is of a few rows";
  const RowSplit split = row_split<__nv_bfloat16>(c.h);
  if (split.lanes < 32 || split.warps < 1 || split.warps > sm90_norm_warps) {
    return "its own norm is of rows of 513 to 2048 columns";
  }
  // Every block computes all rows, a warp a thousand columns. More than four warps have one after
  // the other to do, and take longer than a kernel ahead.
  if (g.m * split.warps > 4) return "its own norm is of up to 4 rows, or 2 of over 1024 columns";
  for (const Rows* rows : {&c.residual, &c.r_out, &c.n_out}) {
    if (rows->present && rows->dtype != g.x.dtype) return "rows of several dtypes";
  }
  if (c.bias.present) return "its own norm adds no bias";
  if (c.add_after.present || c.rstd_out.present || !all_aligned(norm_args(c), 8)) {
    return "its own norm is of aligned rows and adds nothing after";
  }
  // Some blocks read x while others store.
  for (const Rows* out : {&c.r_out, &c.n_out, &g.out}) {
    if (!out->present) continue;
    if (out->data == c.x.data || (c.residual.present && out->data == c.residual.data)) {
      return "an output is the memory of an input of the norm";
    }
  }
  return nullptr;
}

class Sm90Gemm final : public GemmKernel {
 public:
  const char* name() const override { return "cuda.sm90"; }
  bool takes_norm() const override { return true; }

  const char* can_run(const Gemm& g, const ContextState& context) const override {
    if (device_state(context).sm != 90) return "the device is not sm_90";
    if (g.x.dtype != DType::bf16 && g.x.dtype != DType::f16)
      return "x is neither bfloat16 nor float16";
    if (g.weight.packed != nullptr) return "the weight is packed for another kernel";
    if (g.weight.dtype != g.x.dtype) return "the weight's dtype is not that of x";
    if (g.k == 0) return "k is 0";
    if (g.k > 1 && g.weight.stride_k != 1) return "the weight is [in, out]";
    if (!tma_reads(g.x.data, g.m, g.x.stride, g.x.dtype))
      return "TMA needs rows of x at multiples of 16 bytes";
    if (!tma_reads(g.weight.data, g.weight_rows(), g.weight.stride_n, g.weight.dtype)) {
      return "TMA needs rows of the weight at multiples of 16 bytes";
    }
    if (g.gated && g.n % 8 != 0) return "a gated weight needs halves of a multiple of 8 rows";
    constexpr std::int64_t most = std::numeric_limits<int>::max() - 65536;
    if (g.m > most || g.k > most || g.weight_rows() > most) return "a size is over 2^31";
    if (g.norm) return norm_refusal(g);
    return nullptr;
  }

  std::size_t workspace(const Gemm&, const ContextState&) const override { return 0; }

  std::string describe(const Gemm& g, const ContextState& context) const override {
    return to_string(choice(g, context));
  }

  std::vector<std::string> tiles(const Gemm& g, const ContextState& context) const override {
    std::vector<std::string> names;
    for (const Sm90Choice& c : sm90_choices(g, device_state(context))) {
      names.push_back(sm90_name(c));
    }
    return names;
  }
  int tile_number(const std::string& name) const override { return sm90_number(name); }
  const char* can_take(int tile, const Gemm& g, const ContextState& context) const override {
    const bool runs = sm90_numbered(tile, g, device_state(context)).tile != nullptr;
    return runs ? nullptr : "the tile is not for such a problem";
  }

  void launch(const Gemm& g, void*, ContextState& context) const override {
    sm90_launch(g, choice(g, context), context);
  }

 private:
  static Sm90Choice choice(const Gemm& g, const ContextState& context) {
    const DeviceState& device = device_state(context);
    return g.tile >= 0 ? sm90_numbered(g.tile, g, device) : sm90_choose(g, device);
  }
};

}  // namespace

const GemmKernel& sm90_gemm_kernel() {
  static const Sm90Gemm kernel;
  return kernel;
}

void load_sm90_gemm(int (&clusters_at_once)[9]) {
  for (const Sm90Tile& tile : sm90_tiles()) tile.load();
  for (int size = 1; size <= 8; ++size) {
    clusters_at_once[size] = Sm90Block<128, 128, 1, true>::clusters_at_once(size);
  }
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
