// The seam between the core and a device: what a backend provides, and the state that Contexts and
// Weights keep.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "postlude/context.hpp"
#include "postlude/weight.hpp"
#include "problem.hpp"
#include "tuning.hpp"

namespace postlude {
namespace detail {

inline constexpr std::size_t workspace_alignment = 256;

constexpr std::size_t align_up(std::size_t bytes) {
  return (bytes + workspace_alignment - 1) / workspace_alignment * workspace_alignment;
}

// What a backend keeps for one Context (primitive caches, device properties).
class BackendState {
 public:
  virtual ~BackendState() = default;
};

class Backend;

class ContextState {
 public:
  const Backend* backend = nullptr;
  Device device;
  StreamRef stream;
  void* workspace = nullptr;
  std::size_t workspace_bytes = 0;
  std::shared_ptr<void> owned_workspace;
  bool batch_invariant = false;
  bool weights_static = true;
  bool allow_tf32 = false;
  std::unique_ptr<BackendState> backend_state;
  std::shared_ptr<const Tuning> tuning;  // null: no tune table
};

// A norm folded into a weight, for LayerNorm
//   norm(x) weight^T = rstd * (x operand^T - mean * col_sum) + shift
// with operand = round(weight * norm.weight), col_sum[n] = sum_k operand[n, k] and
// shift[n] = sum_k weight[n, k] * norm.bias[k]; for RMSNorm without mean and shift.
struct FoldedNorm {
  NormKind kind = NormKind::none;  // none: nothing is folded
  const char* refusal = nullptr;   // why, where a norm was given
  WeightOperand operand;
  const float* col_sum = nullptr;  // (n,), absent for an RMSNorm
  const float* shift = nullptr;    // (n,), absent where the norm has no bias
  // The norm: its values are those at the time of packing, by its addresses it is known again.
  float eps = 0.0f;
  float weight_offset = 0.0f;
  const void* norm_weight = nullptr;
  const void* norm_bias = nullptr;
  DType norm_weight_dtype = DType::f32;
  DType norm_bias_dtype = DType::f32;
};

// A prepared weight. Plain layouts (quantised ones among them) fill `operand.data`; a backend that
// packs derives from this and sets operand.packed = this.
class WeightState {
 public:
  virtual ~WeightState() = default;

  std::int64_t n = 0;
  std::int64_t k = 0;
  Device device;
  WeightOperand operand;
  std::vector<std::int64_t> scales_shape;  // quantised only
  std::vector<std::shared_ptr<void>> storage;
  std::size_t bytes = 0;  // owned
  bool gated = false;     // packed as two halves (PackOptions::gated)
  FoldedNorm folded;
};

// One GEMM implementation. Kernels are stateless and live as long as the process.
class GemmKernel {
 public:
  virtual ~GemmKernel() = default;
  virtual const char* name() const = 0;
  // Null where the kernel runs this problem; else why not. What this accepts, launch runs. Looks at
  // addresses for their alignment only.
  virtual const char* can_run(const Gemm& gemm, const ContextState& context) const = 0;
  // Whether can_run knows what to do with Gemm::norm; others are never asked. With a norm it also
  // looks at which of the call's addresses are the same.
  virtual bool takes_norm() const { return false; }
  virtual std::size_t workspace(const Gemm& gemm, const ContextState& context) const = 0;
  // The tile or variant that launch would take, for explain.
  virtual std::string describe(const Gemm& gemm, const ContextState& context) const = 0;
  // For tune files. The names of the tiles among which launch chooses for this problem, which it
  // runs; none where it has no choice.
  virtual std::vector<std::string> tiles(const Gemm&, const ContextState&) const { return {}; }
  // The number by which Gemm::tile asks for the tile of a name; -1 where there is none.
  virtual int tile_number(const std::string&) const { return -1; }
  // Null where launch takes the tile of this number for a problem that can_run accepts; else why
  // not.
  virtual const char* can_take(int, const Gemm&, const ContextState&) const {
    return "it has no tiles to choose from";
  }
  // M and N are > 0; K may be 0. `workspace` has the bytes asked for, aligned to 256.
  virtual void launch(const Gemm& gemm, void* workspace, ContextState& context) const = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::unique_ptr<BackendState> make_state(Device device) const = 0;

  // Best first; the last entry runs anything.
  virtual const std::vector<const GemmKernel*>& gemm_kernels() const = 0;

  // m and h are > 0 in launches.
  virtual std::size_t norm_workspace(const NormCall& call, const ContextState& context) const = 0;
  virtual void norm(const NormCall& call, void* workspace, ContextState& context) const = 0;
  virtual void residual_add(const ResidualCall& call, ContextState& context) const = 0;
  // m rows of h elements of one dtype, for outputs that alias an input.
  virtual void copy_rows(const Rows& from, const Rows& to, std::int64_t m, std::int64_t h,
                         ContextState& context) const = 0;

  // A weight (N, K) of checked rank, strides, dtype and device. gated: see PackOptions.
  virtual std::shared_ptr<const WeightState> pack(const TensorView& weight,
                                                  const PackOptions& options,
                                                  ContextState& context) const = 0;
  // Inverse of pack; `out` is checked. Only called for states that this backend packed.
  virtual void unpack(const WeightState& weight, const TensorView& out,
                      ContextState& context) const = 0;
  // Copies a plain matrix (N, K) between any strides, same dtype.
  virtual void copy_matrix(const TensorView& from, const TensorView& to,
                           ContextState& context) const = 0;
  // Fills q (N, K) i8 contiguous and scales f32 by QuantizeOptions' formula.
  virtual void quantize(const TensorView& weight, const QuantizeOptions& options,
                        const TensorView& q, const TensorView& scales,
                        ContextState& context) const = 0;

  // Device memory aligned to 256 bytes.
  virtual std::shared_ptr<void> allocate(std::size_t bytes, Device device) const = 0;
  // Returns once the Context's stream has nothing left to do.
  virtual void synchronize(ContextState& context) const = 0;
  // The same of all of a device's streams, also of those that exist no more.
  virtual void synchronize(Device device) const = 0;
  // What tune files are kept apart by.
  virtual TuneDevice tune_device(const ContextState&) const { return {}; }
  // Lines for show_config.
  virtual std::string config() const = 0;
};

// Null where this build lacks the backend.
const Backend* cpu_backend();
const Backend* cuda_backend();

}  // namespace detail
}  // namespace postlude
