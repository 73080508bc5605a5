// Linear, Qkv and Mlp: see postlude/bound.hpp.
#include "postlude/bound.hpp"

namespace postlude {
inline namespace v1 {
namespace {

// Replaces a plain weight by a packed copy where the binding says so; returns the bytes of the
// copy.
std::size_t bind(WeightRef& weight, const PackOptions& options, Binding binding, Context& context) {
  if (!weight.plain() || binding == Binding::reference) return 0;
  const Weight packed = pack_weight(weight.plain(), options, context);
  weight = packed;
  return packed.bytes();
}

}  // namespace

Linear::Linear(const LinearParams& params, Binding binding, Context& context) : params_(params) {
  params_.x = {};
  params_.epilogue.residual = {};
  PackOptions options;
  options.gated = params.epilogue.gated;
  options.layout = params.epilogue.layout;
  packed_bytes_ = bind(params_.weight, options, binding, context);
}

LinearParams Linear::with(const TensorView& x, const TensorView& residual) const {
  LinearParams p = params_;
  p.x = x;
  p.epilogue.residual = residual;
  return p;
}

void Linear::operator()(const TensorView& x, const TensorView& residual, const TensorView& out,
                        Context& context) const {
  linear(with(x, residual), out, context);
}

Qkv::Qkv(const QkvParams& params, Binding binding, Context& context) : params_(params) {
  params_.x = params_.normed_out = {};
  PackOptions options;
  options.norm = params.norm;
  packed_bytes_ = bind(params_.weight, options, binding, context);
}

QkvParams Qkv::with(const TensorView& x, const TensorView& normed_out) const {
  QkvParams p = params_;
  p.x = x;
  p.normed_out = normed_out;
  return p;
}

void Qkv::operator()(const TensorView& x, const TensorView& normed_out, const TensorView& out,
                     Context& context) const {
  qkv(with(x, normed_out), out, context);
}

Mlp::Mlp(const MlpParams& params, Binding binding, Context& context) : params_(params) {
  params_.x = params_.residual = params_.input_bias = params_.parallel_residual = {};
  params_.residual_out = params_.normed_out = {};
  PackOptions in;
  in.gated = params.gated;
  in.layout = params.layout;  // its norm is not folded: r is rounded before the product reads it
  packed_bytes_ = bind(params_.weight_in, in, binding, context);
  packed_bytes_ += bind(params_.weight_out, PackOptions{}, binding, context);
}

MlpParams Mlp::with(const MlpActivations& a) const {
  MlpParams p = params_;
  p.x = a.x;
  p.residual = a.residual;
  p.input_bias = a.input_bias;
  p.parallel_residual = a.parallel_residual;
  p.residual_out = a.residual_out;
  p.normed_out = a.normed_out;
  return p;
}

void Mlp::operator()(const MlpActivations& activations, const TensorView& out,
                     Context& context) const {
  mlp(with(activations), out, context);
}

}  // namespace v1
}  // namespace postlude
