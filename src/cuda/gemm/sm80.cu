// The choice of the tensor-core GEMM for sm_80 and later: what it runs, and with which tile.
#include "cuda/gemm/sm80.hpp"

#include <string>

#include "cuda/device.hpp"
#include "cuda/gemm/kernels.hpp"

namespace postlude {
namespace detail {
namespace cuda {
namespace {

using Large = Sm80Tile<128, 128>;
using Small = Sm80Tile<64, 64>;

// Large tiles where they give every multiprocessor one.
bool takes_large(const Gemm& gemm, const DeviceState& device) {
  return !gemm.batch_invariant && tiles_of(gemm, 128, 128).all() >= device.sm_count;
}

class Sm80Gemm final : public GemmKernel {
 public:
  const char* name() const override { return "cuda.cutlass_sm80"; }

  const char* can_run(const Gemm& gemm, const ContextState& context) const override {
    if (device_state(context).sm < 80) return "the device is older than sm_80";
    if (gemm.x.dtype != DType::bf16 && gemm.x.dtype != DType::f16) {
      return "x is neither bfloat16 nor float16";
    }
    return tiled_refusal(gemm, 64, 64);
  }

  std::size_t workspace(const Gemm&, const ContextState&) const override { return 0; }

  std::string describe(const Gemm& gemm, const ContextState& context) const override {
    return takes_large(gemm, device_state(context)) ? "tile 128x128x64, 3 stages"
                                                    : "tile 64x64x64, 5 stages";
  }

  void launch(const Gemm& gemm, void*, ContextState& context) const override {
    const DeviceGuard guard(context.device.index);
    const bool in_out = !along_k(gemm);
    const DeviceState& device = device_state(context);
    if (takes_large(gemm, device)) {
      Large::launch(gemm.x.dtype, in_out, tiled_args(gemm, 128, 128), device.programmatic,
                    stream_of(context));
    } else {
      Small::launch(gemm.x.dtype, in_out, tiled_args(gemm, 64, 64), device.programmatic,
                    stream_of(context));
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
