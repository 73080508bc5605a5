// Op objects: Linear, Qkv and Mlp bind weights once (packing them) and are called with activations
// only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "postlude/context.hpp"
#include "postlude/export.hpp"
#include "postlude/ops.hpp"
#include "postlude/params.hpp"

namespace postlude {
inline namespace v1 {

// What a bound op does with plain weights: packs its own copy (faster, costs the bytes), or
// references them.
enum class Binding : std::uint8_t { pack, reference };

// linear with everything but x and the residual bound. Biases and norm weights are referenced and
// must outlive the object; a packed weight need not. Immutable: one object serves any number of
// threads, each with its own Context.
class POSTLUDE_API Linear {
 public:
  // `params.x` and `params.epilogue.residual` are ignored. Errors as pack_weight's.
  Linear(const LinearParams& params, Binding binding, Context& context);
  // The bound params with these activations, for linear(), workspace_size() and explain().
  LinearParams with(const TensorView& x, const TensorView& residual = {}) const;
  // linear(with(x, residual), out, context).
  void operator()(const TensorView& x, const TensorView& residual, const TensorView& out,
                  Context& context) const;
  // Bytes of the copy that was packed, 0 without one.
  std::size_t packed_bytes() const { return packed_bytes_; }
  // What is bound.
  const LinearParams& params() const { return params_; }

 private:
  LinearParams params_;
  std::size_t packed_bytes_ = 0;
};

// qkv with everything but x and normed_out bound; otherwise as Linear. Where the packed weight has
// the norm folded in (see PackOptions), the norm's values are bound too.
class POSTLUDE_API Qkv {
 public:
  Qkv(const QkvParams& params, Binding binding, Context& context);
  QkvParams with(const TensorView& x, const TensorView& normed_out = {}) const;
  void operator()(const TensorView& x, const TensorView& normed_out, const TensorView& out,
                  Context& context) const;
  std::size_t packed_bytes() const { return packed_bytes_; }
  const QkvParams& params() const { return params_; }

 private:
  QkvParams params_;
  std::size_t packed_bytes_ = 0;
};

// The activations of one call of an Mlp; all but x are optional.
struct MlpActivations {
  TensorView x;
  TensorView residual;
  TensorView input_bias;
  TensorView parallel_residual;
  TensorView residual_out;
  TensorView normed_out;
};

// mlp with the weights, biases, activation and norm bound; otherwise as Linear.
class POSTLUDE_API Mlp {
 public:
  Mlp(const MlpParams& params, Binding binding, Context& context);
  MlpParams with(const MlpActivations& activations) const;
  void operator()(const MlpActivations& activations, const TensorView& out, Context& context) const;
  std::size_t packed_bytes() const { return packed_bytes_; }
  const MlpParams& params() const { return params_; }

 private:
  MlpParams params_;
  std::size_t packed_bytes_ = 0;
};

}  // namespace v1
}  // namespace postlude
