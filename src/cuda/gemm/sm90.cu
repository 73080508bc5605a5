// The Hopper GEMM as one of the backend's kernels: what it runs.
#include <limits>
#include <string>

#include "cuda/device.hpp"
#include "cuda/gemm/kernels.hpp"
#include "cuda/gemm/sm90_tiles.hpp"
#include "cuda/gemm/tensor_map.hpp"

namespace postlude {
namespace detail {
namespace cuda {
namespace {

class Sm90Gemm final : public GemmKernel {
 public:
  const char* name() const override { return "cuda.sm90"; }

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
    return nullptr;
  }

  std::size_t workspace(const Gemm&, const ContextState&) const override { return 0; }

  std::string describe(const Gemm& g, const ContextState& context) const override {
    return to_string(sm90_choose(g, device_state(context)));
  }

  void launch(const Gemm& g, void*, ContextState& context) const override {
    sm90_launch(g, sm90_choose(g, device_state(context)), context);
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
    clusters_at_once[size] = Sm90Block<128, 128, 1, Sm90Share::x>::clusters_at_once(size);
  }
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
