// Names of enumerators, devices, views and problems, and the parsing of names.
#include <sstream>
#include <stdexcept>

#include "postlude/activation.hpp"
#include "postlude/error.hpp"
#include "postlude/tensor_view.hpp"
#include "problem.hpp"

namespace postlude {
inline namespace v1 {

Unsupported::~Unsupported() = default;
CudaError::~CudaError() = default;

namespace {

struct NamedActivation {
  const char* name;
  Activation activation;
};

// The first name of an activation is its own, later ones are aliases.
constexpr NamedActivation activations[] = {
    {"none", Activation::none},
    {"relu", Activation::relu},
    {"gelu_erf", Activation::gelu_erf},
    {"gelu_tanh", Activation::gelu_tanh},
    {"quick_gelu", Activation::quick_gelu},
    {"silu", Activation::silu},
    {"relu2", Activation::relu2},
    {"gelu", Activation::gelu_erf},
    {"gelu_new", Activation::gelu_tanh},
    {"gelu_pytorch_tanh", Activation::gelu_tanh},
    {"swish", Activation::silu},
};

template <class Stream>
void print_tuple(Stream& s, const std::int64_t* values, int count) {
  s << '(';
  for (int i = 0; i < count; ++i) s << (i > 0 ? ", " : "") << values[i];
  s << (count == 1 ? ",)" : ")");
}

}  // namespace

const char* to_string(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "float32";
    case DType::bf16:
      return "bfloat16";
    case DType::f16:
      return "float16";
    case DType::i8:
      return "int8";
  }
  return "?";
}

std::string to_string(Device device) {
  if (device.type == DeviceType::cpu) return "cpu";
  return "cuda:" + std::to_string(device.index);
}

std::string to_string(const TensorView& view) {
  if (!view) return "none";
  std::ostringstream s;
  s << to_string(view.dtype()) << ' ';
  print_tuple(s, view.shape(), view.rank());
  s << " strides ";
  print_tuple(s, view.strides(), view.rank());
  s << " on " << to_string(view.device());
  return s.str();
}

const char* to_string(Activation activation) {
  for (const NamedActivation& a : activations) {
    if (a.activation == activation) return a.name;
  }
  return "?";
}

const char* to_string(GateLayout layout) {
  return layout == GateLayout::gate_up ? "gate_up" : "up_gate";
}

Activation parse_activation(std::string_view name) {
  for (const NamedActivation& a : activations) {
    if (name == a.name) return a.activation;
  }
  std::string known;
  for (const NamedActivation& a : activations) {
    known += known.empty() ? a.name : std::string(", ") + a.name;
  }
  throw std::invalid_argument("[parse_activation] activation: expected one of " + known +
                              ", got '" + std::string(name) + "'");
}

GateLayout parse_gate_layout(std::string_view name) {
  if (name == "gate_up") return GateLayout::gate_up;
  if (name == "up_gate") return GateLayout::up_gate;
  throw std::invalid_argument("[parse_gate_layout] layout: expected 'gate_up' or 'up_gate', got '" +
                              std::string(name) + "'");
}

}  // namespace v1

namespace detail {
namespace {

std::string weight_text(const Gemm& gemm) {
  const WeightOperand& w = gemm.weight;
  std::string text = to_string(w.dtype);
  if (w.packed != nullptr) return text + " packed";
  text += w.stride_k == 1 ? " [out, in]" : " [in, out]";
  if (w.dtype == DType::i8) {
    text += w.grouping == Grouping::rows ? " scale per " + std::to_string(w.group) + " rows"
                                         : " scale per " + std::to_string(w.group) + " inputs";
  }
  return text;
}

}  // namespace

std::string to_string(const Gemm& g) {
  std::ostringstream s;
  s << "gemm m=" << g.m << " n=" << g.n << " k=" << g.k << " x=" << to_string(g.x.dtype)
    << " row stride " << g.x.stride << " weight=" << weight_text(g)
    << " out=" << to_string(g.out.dtype);
  s << " epilogue=[";
  if (g.row_scale.present) s << "row_scale ";
  if (g.row_mean.present) s << "row_mean ";
  if (g.col_scale.present) s << "col_scale ";
  if (g.col_sum.present) s << "col_sum ";
  if (g.bias.present) s << "bias(" << to_string(g.bias.dtype) << ") ";
  if (g.shift.present) s << "shift ";
  s << to_string(g.activation);
  if (g.gated) s << " gated " << to_string(g.layout);
  if (g.clamp > 0.0f) s << " clamp=" << g.clamp;
  if (g.alpha != 1.0f) s << " alpha=" << g.alpha;
  if (g.residual.present) s << " residual";
  s << ']';
  if (g.batch_invariant) s << " batch_invariant";
  if (!g.weights_static) s << " weights_static=false";
  if (g.allow_tf32) s << " allow_tf32";
  if (g.norm) s << " of " << to_string(*g.norm);
  return s.str();
}

std::string to_string(const NormCall& c) {
  std::ostringstream s;
  s << (c.kind == NormKind::none    ? "add"
        : c.kind == NormKind::layer ? "layer_norm"
                                    : "rms_norm")
    << " m=" << c.m << " h=" << c.h << " x=" << to_string(c.x.dtype);
  if (c.residual.present) s << " +residual";
  if (c.bias.present) s << " +bias";
  if (c.add_after.present) s << " add_after";
  if (c.r_out.present) s << " stores r";
  if (c.n_out.present) s << " stores n";
  if (c.rstd_out.present) s << " stores statistics";
  return s.str();
}

std::string to_string(const ResidualCall& c) {
  std::ostringstream s;
  s << "residual_add m=" << c.m << " h=" << c.h << " " << to_string(c.out.dtype)
    << " inner_scale=" << c.inner_scale;
  return s.str();
}

}  // namespace detail
}  // namespace postlude
