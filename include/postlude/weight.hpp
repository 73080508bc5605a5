// Weight: a weight matrix prepared once (packed or quantised) for the kernels of one device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "postlude/activation.hpp"
#include "postlude/context.hpp"
#include "postlude/export.hpp"
#include "postlude/norm.hpp"
#include "postlude/tensor_view.hpp"

namespace postlude {

namespace detail {
class WeightState;
}

inline namespace v1 {

// How int8 scales are shared. rows: scale (groups,), each for N/groups consecutive output rows
// (DeepSpeed's way). k: scale (N, K/group_size), each for group_size consecutive inputs of one
// output row (GPTQ's and torchao's way). Symmetric: weight[n, k] = q[n, k] * scale, q in [-127,
// 127].
enum class Grouping : std::uint8_t { rows, k };

// A prepared matrix (N, K) = (out features, in features). Copies share the same immutable storage.
// Default-constructed, it is empty.
class POSTLUDE_API Weight {
 public:
  Weight() = default;
  explicit Weight(std::shared_ptr<const detail::WeightState> state) : state_(std::move(state)) {}

  explicit operator bool() const { return state_ != nullptr; }
  std::int64_t out_features() const;  // N; both halves where the weight is gated
  std::int64_t in_features() const;   // K
  DType dtype() const;                // f32, bf16, f16; i8 where quantised
  Device device() const;
  bool packed() const;     // a copy in a layout of the kernels' own; never on CUDA
  bool quantized() const;  // int8 with scales
  Grouping grouping() const;
  // The scales of a quantised weight, f32, (groups,) or (N, K/group_size); absent otherwise.
  TensorView scales() const;
  // Bytes that this Weight owns, those of a folded norm included (0 where it only borrows).
  std::size_t bytes() const;
  // Writes the matrix as it went in, bit for bit, to `out` (N, K) in dtype(), stride 1 in either
  // dimension. A quantised weight gives its int8 values. Throws std::invalid_argument for another
  // shape, dtype or device.
  void unpack(const TensorView& out, Context& context) const;

  const detail::WeightState* state() const { return state_.get(); }

 private:
  std::shared_ptr<const detail::WeightState> state_;
};

// What pack_weight is to know of the op that the weight is for.
struct PackOptions {
  bool gated = false;
  GateLayout layout = GateLayout::gate_up;
  // The norm that qkv will apply to x first. CUDA folds it into a second copy of a bf16 or f16
  // weight, where K is 64 or more and the products of the two are neither too small nor too large
  // for the dtype; then the call needs only the statistics of x, and what is rounded is the folded
  // weight instead of norm(x). Its values at the time of packing count: pack again where they have
  // changed. Calls know it again by its kind, its numbers and its addresses, so that its tensors
  // must live as long as the Weight; any other norm, or a call that wants the normalised x, runs by
  // itself. explain() says which. Other backends and dtypes ignore it.
  Norm norm;
};

// Copies a plain weight (N, K), stride 1 in either dimension, into the layout that the device's
// kernels read fastest: on CUDA [out, in], contiguous. Allocates; complete on return. Throws
// std::invalid_argument for a wrong rank, stride, dtype or device, an odd N where gated, or a norm
// whose parameters are not (K,) in the weight's dtype or f32.
POSTLUDE_API Weight pack_weight(const TensorView& weight, const PackOptions& options,
                                Context& context);

// How quantize_weight shares scales: groups or group_size, as the grouping says.
struct QuantizeOptions {
  int bits = 8;
  Grouping grouping = Grouping::rows;
  std::int64_t groups = 1;      // rows: divides N
  std::int64_t group_size = 0;  // k: divides K
};

// Quantises a float weight (N, K) to symmetric int8: scale = max|w| / 127 over each group,
// q = clamp(round_half_even(w / scale), -127, 127), all in fp32; q = 0 where scale = 0. Throws
// std::invalid_argument for bits other than 8 or groups that do not divide.
POSTLUDE_API Weight quantize_weight(const TensorView& weight, const QuantizeOptions& options,
                                    Context& context);

// Wraps an int8 matrix (N, K), stride 1 in either dimension, and f32 scales of the shape that
// `grouping` says, without copying: both must outlive the Weight. Throws std::invalid_argument for
// a wrong shape, stride, dtype or device.
POSTLUDE_API Weight borrow_quantized(const TensorView& weight, const TensorView& scales,
                                     Grouping grouping);

// What an op takes as its weight: a plain tensor (N, K) with stride 1 in either dimension, or a
// Weight. Both are referenced, not copied, and must outlive the call (a Weight's storage is kept
// alive by the reference).
class WeightRef {
 public:
  WeightRef() = default;
  WeightRef(const TensorView& plain) : plain_(plain) {}       // NOLINT: implicit on purpose
  WeightRef(const Weight& prepared) : prepared_(prepared) {}  // NOLINT: implicit on purpose

  explicit operator bool() const {
    return static_cast<bool>(plain_) || static_cast<bool>(prepared_);
  }
  const TensorView& plain() const { return plain_; }
  const Weight& prepared() const { return prepared_; }

 private:
  TensorView plain_;
  Weight prepared_;
};

}  // namespace v1
}  // namespace postlude
