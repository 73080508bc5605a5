// The choice of the tensor-core GEMM for sm_80 and later: what it runs, and with which tile.
#include "cuda/gemm/sm80.hpp"

#include <limits>
#include <string>

#include "cuda/device.hpp"
#include "cuda/gemm/kernels.hpp"

namespace postlude {
namespace detail {
namespace cuda {
namespace {

using Large = Sm80Tile<128, 128>;
using Small = Sm80Tile<64, 64>;

struct TileCount {
  std::int64_t m;
  std::int64_t n;
  std::int64_t all() const { return m * n; }
};

TileCount tiles_of(const Gemm& gemm, int tile) {
  return {(gemm.m + tile - 1) / tile, (gemm.weight_rows() + tile - 1) / tile};
}

// Large tiles where they give every multiprocessor one.
bool takes_large(const Gemm& gemm, const DeviceState& device) {
  return !gemm.batch_invariant && tiles_of(gemm, 128).all() >= device.sm_count;
}

// How the weight lies; the stride of a dimension of size 1 is not looked at.
bool along_k(const Gemm& gemm) { return gemm.weight.stride_k == 1 || gemm.k <= 1; }
bool along_n(const Gemm& gemm) { return gemm.weight.stride_n == 1 || gemm.weight_rows() <= 1; }

// Whether lines of 2-byte elements may be copied 16 bytes at a time.
bool vector_lines(const void* data, std::int64_t lines, std::int64_t stride) {
  return is_aligned(data) && (lines <= 1 || stride % 8 == 0);
}

Sm80Args sm80_args(const Gemm& gemm, int tile) {
  const WeightOperand& weight = gemm.weight;
  const bool in_out = !along_k(gemm);
  const std::int64_t lines = in_out ? gemm.k : gemm.weight_rows();
  Sm80Args a;
  a.x = gemm.x.data;
  a.x_stride = gemm.m > 1 ? gemm.x.stride : 0;
  a.x_vector = vector_lines(gemm.x.data, gemm.m, gemm.x.stride);
  a.weight = weight.data;
  a.weight_stride = lines > 1 ? (in_out ? weight.stride_k : weight.stride_n) : 0;
  a.weight_vector = vector_lines(weight.data, lines, a.weight_stride);
  if (in_out && gemm.gated && gemm.n % 8 != 0) a.weight_vector = false;  // the second half's start
  a.k = gemm.k;
  a.epilogue = epilogue_args(gemm);
  const TileCount tiles = tiles_of(gemm, tile);
  a.tiles_m = tiles.m;
  a.tiles_n = tiles.n;
  return a;
}

class Sm80Gemm final : public GemmKernel {
 public:
  const char* name() const override { return "cuda.cutlass_sm80"; }

  const char* can_run(const Gemm& gemm, const ContextState& context) const override {
    if (device_state(context).sm < 80) return "the device is older than sm_80";
    if (gemm.x.dtype != DType::bf16 && gemm.x.dtype != DType::f16) {
      return "x is neither bfloat16 nor float16";
    }
    if (gemm.weight.packed != nullptr) return "the weight is packed for another kernel";
    if (gemm.weight.dtype != gemm.x.dtype) return "the weight's dtype is not that of x";
    if (!along_k(gemm) && !along_n(gemm)) return "the weight has stride 1 in neither dimension";
    if (tiles_of(gemm, 64).all() > std::numeric_limits<int>::max()) {
      return "there are more tiles than a grid holds";
    }
    return nullptr;
  }

  std::size_t workspace(const Gemm&, const ContextState&) const override { return 0; }

  std::string describe(const Gemm& gemm, const ContextState& context) const override {
    return takes_large(gemm, device_state(context)) ? "tile 128x128x64, 3 stages"
                                                    : "tile 64x64x64, 5 stages";
  }

  void launch(const Gemm& gemm, void*, ContextState& context) const override {
    const DeviceGuard guard(context.device.index);
    const bool in_out = !along_k(gemm);
    if (takes_large(gemm, device_state(context))) {
      Large::launch(gemm.x.dtype, in_out, sm80_args(gemm, 128), stream_of(context));
    } else {
      Small::launch(gemm.x.dtype, in_out, sm80_args(gemm, 64), stream_of(context));
    }
  }
};

}  // namespace

const GemmKernel& sm80_gemm_kernel() {
  static const Sm80Gemm kernel;
  return kernel;
}

void load_sm80_gemm() {
  Large::load();
  Small::load();
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
