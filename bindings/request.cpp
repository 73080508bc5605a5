// Request: see request.hpp.
#include "request.hpp"

#include <stdexcept>

#include "names.hpp"

namespace postlude {
namespace python {

bool is_matrix(std::string_view input) {
  return input == "weight" || input == "weight_in" || input == "weight_out";
}

bool is_vector(std::string_view input) {
  for (const std::string_view name : {"bias", "bias_in", "bias_out", "norm.weight", "norm.bias",
                                      "input_bias", "attention_bias", "final_bias"}) {
    if (input == name) return true;
  }
  return false;
}

std::vector<std::string_view> split(std::string_view names) {
  std::vector<std::string_view> parts;
  while (!names.empty()) {
    const std::size_t end = names.find(',');
    parts.push_back(names.substr(0, end));
    names = end == std::string_view::npos ? std::string_view() : names.substr(end + 1);
  }
  return parts;
}

Request::Request(std::string_view op) : op_(op) {
  for (const std::string_view known : request_ops) {
    if (op == known) return;
  }
  throw std::invalid_argument("[Request] op: expected an op of postlude.ops, got '" +
                              std::string(op) + "'");
}

void Request::fail(std::string_view argument, const std::string& text) const {
  throw std::invalid_argument("[" + std::string(op_) + "] " + std::string(argument) + ": " + text);
}

void Request::tensor(std::string_view name, const TensorView& view) {
  if (count_ == tensors_.size()) fail(name, "expected fewer tensors");
  tensors_[count_++] = {name, view};
}

void Request::option(std::string_view name, std::string_view text) {
  if (name == "activation") {
    activation_ = activation_of(op_, text);
  } else if (name == "layout") {
    layout_ = gate_layout_of(op_, text);
  } else if (name == "form") {
    form_ = residual_form_of(op_, text);
  } else if (name == "norm") {
    if (text != "layer" && text != "rms") {
      fail(name, "expected 'layer' or 'rms', got '" + std::string(text) + "'");
    }
    norm_ = text == "layer" ? NormKind::layer : NormKind::rms;
  } else {
    fail(name, "expected no text, got '" + std::string(text) + "'");
  }
}

void Request::option(std::string_view name, double number) {
  const auto real = static_cast<float>(number);
  const bool flag = number != 0.0;
  if (name == "alpha") {
    alpha_ = real;
  } else if (name == "clamp") {
    clamp_ = real;
  } else if (name == "eps") {
    eps_ = real;
  } else if (name == "weight_offset") {
    weight_offset_ = real;
  } else if (name == "mp_size") {
    mp_size_ = static_cast<std::int64_t>(number);
  } else if (name == "gated") {
    gated_ = flag;
  } else if (name == "add_residual") {
    add_residual_ = flag;
  } else if (name == "batch_invariant") {
    context_.batch_invariant = flag;
  } else if (name == "weights_static") {
    context_.weights_static = flag;
  } else if (name == "allow_tf32") {
    context_.allow_tf32 = flag;
  } else {
    fail(name, "expected no number, got " + std::to_string(number));
  }
}

TensorView Request::get(std::string_view name) const {
  for (std::size_t i = 0; i < count_; ++i) {
    if (tensors_[i].name == name) return tensors_[i].view;
  }
  return TensorView();
}

std::vector<std::int64_t> Request::shape_of(std::string_view output) const {
  const TensorView x = get(op_ == "residual_add" ? "hidden_state" : "x");
  if (x.rank() < 1) return {};
  std::vector<std::int64_t> shape(x.shape(), x.shape() + x.rank());
  const bool product = op_ == "linear" || op_ == "qkv" || op_ == "mlp";
  if (output != "out" || !product) return shape;
  const TensorView weight = get(op_ == "mlp" ? "weight_out" : "weight");
  const std::int64_t rows = weight.rank() == 2 ? weight.size(0) : -1;
  shape.back() = op_ == "linear" && gated_ && rows >= 0 ? rows / 2 : rows;
  return shape;
}

Norm Request::norm() const {
  if (norm_ == NormKind::none) return Norm();
  if (norm_ == NormKind::layer) return Norm::layer(get("norm.weight"), get("norm.bias"), eps_);
  return Norm::rms(get("norm.weight"), eps_, weight_offset_);
}

LinearParams Request::linear_params() const {
  LinearParams params;
  params.x = get("x");
  params.weight = get("weight");
  params.epilogue.bias = get("bias");
  params.epilogue.activation = activation_;
  params.epilogue.gated = gated_;
  params.epilogue.layout = layout_;
  params.epilogue.clamp = clamp_;
  params.epilogue.residual = get("residual");
  params.epilogue.alpha = alpha_;
  return params;
}

QkvParams Request::qkv_params() const {
  QkvParams params;
  params.x = get("x");
  params.weight = get("weight");
  params.bias = get("bias");
  params.norm = norm();
  params.normed_out = get("normed_out");
  return params;
}

MlpParams Request::mlp_params() const {
  MlpParams params;
  params.x = get("x");
  params.weight_in = get("weight_in");
  params.weight_out = get("weight_out");
  params.bias_in = get("bias_in");
  params.bias_out = get("bias_out");
  params.activation = activation_;
  params.gated = gated_;
  params.layout = layout_;
  params.clamp = clamp_;
  params.norm = norm();
  params.residual = get("residual");
  params.input_bias = get("input_bias");
  params.add_residual = add_residual_;
  params.parallel_residual = get("parallel_residual");
  params.residual_out = get("residual_out");
  params.normed_out = get("normed_out");
  return params;
}

NormParams Request::norm_params() const {
  NormParams params;
  params.x = get("x");
  params.norm = norm();
  params.residual = get("residual");
  params.bias = get("bias");
  params.add_after = get("add_after");
  params.residual_out = get("residual_out");
  return params;
}

ResidualAddParams Request::residual_add_params() const {
  ResidualAddParams params;
  params.hidden_state = get("hidden_state");
  params.residual = get("residual");
  params.attention_output = get("attention_output");
  params.attention_bias = get("attention_bias");
  params.final_bias = get("final_bias");
  params.form = form_;
  params.mp_size = mp_size_;
  return params;
}

template <class Function>
void Request::visit(Function&& function) const {
  if (op_ == "linear") {
    function(&linear, linear_params());
  } else if (op_ == "qkv") {
    function(&qkv, qkv_params());
  } else if (op_ == "mlp") {
    function(&mlp, mlp_params());
  } else if (op_ == "norm") {
    function(&postlude::norm, norm_params());
  } else {
    function(&residual_add, residual_add_params());
  }
}

std::size_t Request::workspace_size(Context& context) const {
  std::size_t bytes = 0;
  visit([&](auto, const auto& params) {
    bytes = postlude::workspace_size(params, get("out"), context);
  });
  return bytes;
}

void Request::run(Context& context) const {
  visit([&](auto op, const auto& params) { op(params, get("out"), context); });
}

}  // namespace python
}  // namespace postlude
