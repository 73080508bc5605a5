// The choice of the fp32 tensor-core GEMM for sm_80 and later: what it runs, and with which tile.
#include "cuda/gemm/tf32.hpp"

#include <algorithm>
#include <string>

#include "cuda/device.hpp"
#include "cuda/gemm/kernels.hpp"

namespace postlude {
namespace detail {
namespace cuda {
namespace {

using Large = Tf32Tile<128, 64>;
using Medium = Tf32Tile<64, 64>;
using Small = Tf32Tile<32, 64>;

// The time that tiles of a size take, in a unit of its own: that of the multiprocessor with the
// most tiles. A tile costs its rows and some more; one alone leaves tensor cores idle that a second
// would use.
template <class Tile>
std::int64_t cost(const Gemm& gemm, const DeviceState& device) {
  const std::int64_t tiles = tiles_of(gemm, Tile::rows, Tile::slots).all();
  const std::int64_t most = (tiles + device.sm_count - 1) / device.sm_count;
  return std::max<std::int64_t>(3 * most, 4) * (Tile::rows + 8);
}

// Calls function(Tile()) with the tile that takes the least time, the larger one of equals. All
// tiles give the same bits; where the caller asks for that, it does not rest on it.
template <class Function>
void with_tile(const Gemm& gemm, const DeviceState& device, Function&& function) {
  const std::int64_t large = cost<Large>(gemm, device);
  const std::int64_t medium = cost<Medium>(gemm, device);
  const std::int64_t small = cost<Small>(gemm, device);
  if (gemm.batch_invariant || (medium < large && medium <= small)) {
    function(Medium());
  } else if (large <= small) {
    function(Large());
  } else {
    function(Small());
  }
}

class Tf32Gemm final : public GemmKernel {
 public:
  const char* name() const override { return "cuda.cutlass_tf32x3"; }

  const char* can_run(const Gemm& gemm, const ContextState& context) const override {
    if (device_state(context).sm < 80) return "the device is older than sm_80";
    if (gemm.x.dtype != DType::f32) return "x is not float32";
    return tiled_refusal(gemm, Small::rows, Small::slots);
  }

  std::size_t workspace(const Gemm&, const ContextState&) const override { return 0; }

  std::string describe(const Gemm& gemm, const ContextState& context) const override {
    std::string text;
    with_tile(gemm, device_state(context), [&](auto tile) {
      text = "tile " + std::to_string(tile.rows) + "x" + std::to_string(tile.slots) + "x32, " +
             (gemm.allow_tf32 ? "one TF32 product" : "three TF32 products");
    });
    return text;
  }

  void launch(const Gemm& gemm, void*, ContextState& context) const override {
    const DeviceGuard guard(context.device.index);
    const DeviceState& device = device_state(context);
    with_tile(gemm, device, [&](auto tile) {
      tile.launch(!along_k(gemm), tiled_args(gemm, tile.rows, tile.slots), device.programmatic,
                  stream_of(context));
    });
  }
};

}  // namespace

const GemmKernel& tf32_gemm_kernel() {
  static const Tf32Gemm kernel;
  return kernel;
}

void load_tf32_gemm() {
  Large::load();
  Medium::load();
  Small::load();
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
