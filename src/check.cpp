// Validation: see check.hpp.
#include "check.hpp"

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>

namespace postlude {
inline namespace v1 {

std::string refusal(const Epilogue& e) {
  if (e.activation > Activation::relu2) {
    return "activation: expected one of the Activation enumerators, got " +
           std::to_string(static_cast<int>(e.activation));
  }
  if (e.layout > GateLayout::up_gate) {
    return "layout: expected gate_up or up_gate, got " + std::to_string(static_cast<int>(e.layout));
  }
  if (e.clamp && !e.gated)
    return "clamp: expected none unless gated, got " + std::to_string(*e.clamp);
  if (e.clamp && !(*e.clamp > 0.0f)) {
    return "clamp: expected a value > 0, got " + std::to_string(*e.clamp);
  }
  if (static_cast<bool>(e.row_mean) != static_cast<bool>(e.col_sum)) {
    return "row_mean: expected together with col_sum, got one without the other";
  }
  if (e.out_dtype == DType::i8) return "out_dtype: expected float32, bfloat16 or float16, got int8";
  return "";
}

}  // namespace v1

namespace detail {
namespace {

std::string shape_text(const TensorView& view) {
  if (!view) return "none";
  std::string text = "(";
  for (int d = 0; d < view.rank(); ++d) text += (d > 0 ? ", " : "") + std::to_string(view.size(d));
  return text + (view.rank() == 1 ? ",)" : ")");
}

bool is_float(DType dtype) { return dtype != DType::i8; }

// A tensor by the name that messages give it.
struct NamedView {
  const char* name;
  const TensorView& view;
};

// The checks of one call: remembers the op, the device and the dtype that its activations share.
class Checker {
 public:
  Checker(const char* op, const TensorView& x, Device device) : op_(op), device_(device), x_(x) {
    if (!x) fail(op, "x", "a tensor", "none");
    on_device("x", x);
    if (!is_float(x.dtype())) {
      fail(op, "x", "float32, bfloat16 or float16", to_string(x.dtype()));
    }
    if (x.rank() < 1) fail(op, "x", "at least 1 dimension", "a scalar");
    inner_stride("x", x);
  }

  void on_device(const char* argument, const TensorView& view) const {
    if (view.device() != device_) {
      fail(op_, argument, "a tensor on " + to_string(device_), to_string(view));
    }
  }

  // An activation with x's leading dimensions, `columns` wide, of the dtype (by default x's).
  void activation(const char* argument, const TensorView& view, std::int64_t columns,
                  std::optional<DType> dtype = std::nullopt) const {
    on_device(argument, view);
    bool matches = view.rank() == x_.rank() && view.size(-1) == columns;
    for (int d = 0; matches && d + 1 < x_.rank(); ++d) matches = view.size(d) == x_.size(d);
    if (!matches) {
      std::string expected = "(";
      for (int d = 0; d + 1 < x_.rank(); ++d) expected += std::to_string(x_.size(d)) + ", ";
      fail(op_, argument,
           "shape " + expected + std::to_string(columns) + (x_.rank() == 1 ? ",)" : ")"),
           shape_text(view));
    }
    const DType wanted = dtype.value_or(x_.dtype());
    if (view.dtype() != wanted) fail(op_, argument, to_string(wanted), to_string(view.dtype()));
    inner_stride(argument, view);
  }

  void optional_activation(const char* argument, const TensorView& view,
                           std::int64_t columns) const {
    if (view) activation(argument, view, columns);
  }

  // An output: as an activation, and every element at its own address.
  void output(const char* argument, const TensorView& view, std::int64_t columns,
              std::optional<DType> dtype = std::nullopt) const {
    if (!view) fail(op_, argument, "a tensor", "none");
    activation(argument, view, columns, dtype);
    if (overlaps_itself(view)) {
      fail(op_, argument, "an output whose elements do not overlap", to_string(view));
    }
  }

  void optional_output(const char* argument, const TensorView& view, std::int64_t columns) const {
    if (view) output(argument, view, columns);
  }

  // A vector of `size` in x's dtype or f32.
  void vector(const char* argument, const TensorView& view, std::int64_t size) const {
    if (!view) return;
    on_device(argument, view);
    if (view.rank() != 1 || view.size(0) != size) {
      fail(op_, argument, "shape (" + std::to_string(size) + ",)", shape_text(view));
    }
    if (view.dtype() != x_.dtype() && view.dtype() != DType::f32) {
      fail(op_, argument, std::string(to_string(x_.dtype())) + " or float32",
           to_string(view.dtype()));
    }
    inner_stride(argument, view);
  }

  // An f32 vector of `size`, or of 1 where `scalar` allows it.
  void scale(const char* argument, const TensorView& view, std::int64_t size, bool scalar) const {
    if (!view) return;
    on_device(argument, view);
    if (view.dtype() != DType::f32) fail(op_, argument, "float32", to_string(view.dtype()));
    const bool fits = view.rank() == 1 && (view.size(0) == size || (scalar && view.size(0) == 1));
    if (!fits) {
      fail(op_, argument, "shape (" + std::to_string(size) + ",)" + (scalar ? " or (1,)" : ""),
           shape_text(view));
    }
    inner_stride(argument, view);
  }

  void norm(const Norm& norm, std::int64_t size) const {
    if (!norm) return;
    if (norm.kind > NormKind::rms) {
      fail(op_, "norm.kind", "layer or rms", std::to_string(static_cast<int>(norm.kind)));
    }
    vector("norm.weight", norm.weight, size);
    vector("norm.bias", norm.bias, size);
    if (norm.kind == NormKind::rms && norm.bias) {
      fail(op_, "norm.bias", "none for an RMSNorm", shape_text(norm.bias));
    }
    if (!(norm.eps >= 0.0f) || std::isinf(norm.eps)) {
      fail(op_, "norm.eps", "a finite value >= 0", std::to_string(norm.eps));
    }
  }

  // A weight with `in` features; returns its number of rows.
  std::int64_t weight(const char* argument, const WeightRef& ref, std::int64_t in,
                      bool gated) const {
    if (!ref) fail(op_, argument, "a weight", "none");
    if (ref.plain()) {
      check_matrix(op_, argument, ref.plain(), device_);
      if (ref.plain().dtype() != x_.dtype()) {
        fail(op_, argument, std::string(to_string(x_.dtype())) + " (x's dtype)",
             to_string(ref.plain().dtype()));
      }
    } else {
      const WeightState& state = *ref.prepared().state();
      if (state.device != device_) {
        fail(op_, argument, "a Weight on " + to_string(device_),
             "one on " + to_string(state.device));
      }
      if (is_float(state.operand.dtype) && state.operand.dtype != x_.dtype()) {
        fail(op_, argument, std::string(to_string(x_.dtype())) + " (x's dtype)",
             std::string("a Weight of ") + to_string(state.operand.dtype));
      }
      if (state.operand.packed != nullptr && state.gated != gated) {
        fail(op_, argument,
             gated ? "a Weight packed with gated=True" : "a Weight packed with gated=False",
             gated ? "one packed with gated=False" : "one packed with gated=True");
      }
    }
    if (in_features(ref) != in) {
      fail(op_, argument, "shape (out, in) with in = " + std::to_string(in),
           "(" + std::to_string(out_features(ref)) + ", " + std::to_string(in_features(ref)) + ")");
    }
    if (gated && out_features(ref) % 2 != 0) {
      fail(op_, argument, "an even number of rows [gate; up]", std::to_string(out_features(ref)));
    }
    return out_features(ref);
  }

  // An output may share memory with nothing but views that it equals exactly and that are listed as
  // allowed.
  void no_overlap(const char* argument, const TensorView& output,
                  std::initializer_list<NamedView> allowed,
                  std::initializer_list<NamedView> refused) const {
    if (!output) return;
    for (const NamedView& other : allowed) {
      if (overlap(output, other.view) && !same_memory(output, other.view)) {
        overlap_error(argument, output, other, "exactly the same memory or none of it");
      }
    }
    for (const NamedView& other : refused) {
      if (overlap(output, other.view)) overlap_error(argument, output, other, "other memory");
    }
  }

 private:
  void inner_stride(const char* argument, const TensorView& view) const {
    if (view.size(-1) > 1 && view.stride(-1) != 1 && view.numel() > 0) {
      fail(op_, argument, "stride 1 in the last dimension", to_string(view));
    }
  }

  [[noreturn]] void overlap_error(const char* argument, const TensorView& output,
                                  const NamedView& other, const char* expected) const {
    fail(op_, argument, std::string(expected) + " as " + other.name,
         "an overlap of " + to_string(output) + " with " + to_string(other.view));
  }

  const char* op_;
  Device device_;
  const TensorView& x_;
};

}  // namespace

void fail(const char* op, const std::string& argument, const std::string& expected,
          const std::string& got) {
  throw std::invalid_argument("[" + std::string(op) + "] " + argument + ": expected " + expected +
                              ", got " + got);
}

void check_matrix(const char* op, const char* argument, const TensorView& matrix, Device device) {
  if (!matrix) fail(op, argument, "a matrix (out, in)", "none");
  if (matrix.device() != device) {
    fail(op, argument, "a tensor on " + to_string(device), to_string(matrix));
  }
  if (matrix.rank() != 2) fail(op, argument, "2 dimensions (out, in)", shape_text(matrix));
  const bool row_major = matrix.size(1) <= 1 || matrix.stride(1) == 1;
  const bool column_major = matrix.size(0) <= 1 || matrix.stride(0) == 1;
  if (!row_major && !column_major && matrix.numel() > 0) {
    fail(op, argument, "stride 1 in one of the two dimensions", to_string(matrix));
  }
}

std::int64_t out_features(const WeightRef& weight) {
  return weight.plain() ? weight.plain().size(0) : weight.prepared().out_features();
}

std::int64_t in_features(const WeightRef& weight) {
  return weight.plain() ? weight.plain().size(1) : weight.prepared().in_features();
}

RowMap check(const LinearParams& p, const TensorView& out, const ContextState& context) {
  const char* op = "linear";
  const Epilogue& e = p.epilogue;
  const Checker c(op, p.x, context.device);
  const std::string illegal = refusal(e);
  if (!illegal.empty()) throw std::invalid_argument("[linear] " + illegal);
  const std::int64_t rows = c.weight("weight", p.weight, p.x.size(-1), e.gated);
  const std::int64_t n = e.gated ? rows / 2 : rows;
  c.vector("bias", e.bias, rows);
  RowMap map(p.x);
  const std::int64_t m = map.rows() * map.slabs();
  c.scale("row_scale", e.row_scale, m, true);
  c.scale("row_mean", e.row_mean, m, false);
  c.scale("col_scale", e.col_scale, rows, true);
  c.scale("col_sum", e.col_sum, rows, false);
  c.optional_activation("residual", e.residual, n);
  c.output("out", out, n, e.out_dtype);
  c.no_overlap("out", out, {{"x", p.x}, {"residual", e.residual}},
               {{"weight", p.weight.plain()},
                {"bias", e.bias},
                {"row_scale", e.row_scale},
                {"row_mean", e.row_mean},
                {"col_scale", e.col_scale},
                {"col_sum", e.col_sum}});
  map.add(e.residual);
  map.add(out);
  return map;
}

RowMap check(const QkvParams& p, const TensorView& out, const ContextState& context) {
  const Checker c("qkv", p.x, context.device);
  const std::int64_t k = p.x.size(-1);
  const std::int64_t n = c.weight("weight", p.weight, k, false);
  c.vector("bias", p.bias, n);
  c.norm(p.norm, k);
  c.optional_output("normed_out", p.normed_out, k);
  c.output("out", out, n);
  c.no_overlap("out", out, {{"x", p.x}},
               {{"weight", p.weight.plain()},
                {"bias", p.bias},
                {"norm.weight", p.norm.weight},
                {"norm.bias", p.norm.bias},
                {"normed_out", p.normed_out}});
  c.no_overlap("normed_out", p.normed_out, {},
               {{"x", p.x},
                {"weight", p.weight.plain()},
                {"bias", p.bias},
                {"norm.weight", p.norm.weight},
                {"norm.bias", p.norm.bias}});
  RowMap map(p.x);
  map.add(p.normed_out);
  map.add(out);
  return map;
}

RowMap check(const MlpParams& p, const TensorView& out, const ContextState& context) {
  const char* op = "mlp";
  const Checker c(op, p.x, context.device);
  const std::int64_t h = p.x.size(-1);
  Epilogue first;
  first.activation = p.activation;
  first.layout = p.layout;
  first.gated = p.gated;
  first.clamp = p.clamp;
  const std::string illegal = refusal(first);
  if (!illegal.empty()) throw std::invalid_argument("[mlp] " + illegal);
  const std::int64_t rows_in = c.weight("weight_in", p.weight_in, h, p.gated);
  const std::int64_t n =
      c.weight("weight_out", p.weight_out, p.gated ? rows_in / 2 : rows_in, false);
  c.vector("bias_in", p.bias_in, rows_in);
  c.vector("bias_out", p.bias_out, n);
  c.norm(p.norm, h);
  c.optional_activation("residual", p.residual, h);
  c.vector("input_bias", p.input_bias, h);
  c.optional_activation("parallel_residual", p.parallel_residual, n);
  if (p.add_residual && !p.parallel_residual && n != h) {
    fail(op, "weight_out", std::to_string(h) + " rows, since the residual is added to the output",
         std::to_string(n));
  }
  c.optional_output("residual_out", p.residual_out, h);
  c.optional_output("normed_out", p.normed_out, h);
  c.output("out", out, n);
  const std::initializer_list<NamedView> parameters = {{"weight_in", p.weight_in.plain()},
                                                       {"weight_out", p.weight_out.plain()},
                                                       {"bias_in", p.bias_in},
                                                       {"bias_out", p.bias_out},
                                                       {"norm.weight", p.norm.weight},
                                                       {"norm.bias", p.norm.bias},
                                                       {"input_bias", p.input_bias}};
  c.no_overlap("out", out,
               {{"x", p.x}, {"residual", p.residual}, {"parallel_residual", p.parallel_residual}},
               parameters);
  c.no_overlap("out", out, {}, {{"residual_out", p.residual_out}, {"normed_out", p.normed_out}});
  c.no_overlap("residual_out", p.residual_out, {{"x", p.x}, {"residual", p.residual}}, parameters);
  c.no_overlap("residual_out", p.residual_out, {},
               {{"parallel_residual", p.parallel_residual}, {"normed_out", p.normed_out}});
  c.no_overlap("normed_out", p.normed_out, {}, parameters);
  c.no_overlap("normed_out", p.normed_out, {},
               {{"x", p.x}, {"residual", p.residual}, {"parallel_residual", p.parallel_residual}});
  RowMap map(p.x);
  for (const TensorView* view :
       {&p.residual, &p.parallel_residual, &p.residual_out, &p.normed_out, &out}) {
    map.add(*view);
  }
  return map;
}

RowMap check(const NormParams& p, const TensorView& out, const ContextState& context) {
  const char* op = "norm";
  const Checker c(op, p.x, context.device);
  const std::int64_t h = p.x.size(-1);
  c.norm(p.norm, h);
  c.optional_activation("residual", p.residual, h);
  c.vector("bias", p.bias, h);
  c.optional_activation("add_after", p.add_after, h);
  c.optional_output("residual_out", p.residual_out, h);
  c.output("out", out, h);
  const std::initializer_list<NamedView> parameters = {
      {"norm.weight", p.norm.weight}, {"norm.bias", p.norm.bias}, {"bias", p.bias}};
  c.no_overlap("out", out, {{"x", p.x}, {"residual", p.residual}, {"add_after", p.add_after}},
               parameters);
  c.no_overlap("out", out, {}, {{"residual_out", p.residual_out}});
  c.no_overlap("residual_out", p.residual_out, {{"x", p.x}, {"residual", p.residual}}, parameters);
  c.no_overlap("residual_out", p.residual_out, {}, {{"add_after", p.add_after}});
  RowMap map(p.x);
  for (const TensorView* view : {&p.residual, &p.add_after, &p.residual_out, &out}) map.add(*view);
  return map;
}

RowMap check(const ResidualAddParams& p, const TensorView& out, const ContextState& context) {
  const char* op = "residual_add";
  if (!p.hidden_state) fail(op, "hidden_state", "a tensor", "none");
  const Checker c(op, p.hidden_state, context.device);
  const std::int64_t h = p.hidden_state.size(-1);
  if (!p.residual) fail(op, "residual", "a tensor", "none");
  c.activation("residual", p.residual, h);
  c.optional_activation("attention_output", p.attention_output, h);
  c.vector("attention_bias", p.attention_bias, h);
  c.vector("final_bias", p.final_bias, h);
  if (p.form > ResidualForm::parallel) {
    fail(op, "form", "pre_ln, post_ln or parallel", std::to_string(static_cast<int>(p.form)));
  }
  if (p.mp_size < 1) fail(op, "mp_size", "a value >= 1", std::to_string(p.mp_size));
  if (p.form == ResidualForm::post_ln) {
    if (p.attention_output) fail(op, "attention_output", "none with form post_ln", "a tensor");
    if (p.attention_bias) fail(op, "attention_bias", "none with form post_ln", "a tensor");
  }
  c.output("out", out, h);
  c.no_overlap("out", out,
               {{"hidden_state", p.hidden_state},
                {"residual", p.residual},
                {"attention_output", p.attention_output}},
               {{"attention_bias", p.attention_bias}, {"final_bias", p.final_bias}});
  RowMap map(p.hidden_state);
  for (const TensorView* view : {&p.residual, &p.attention_output, &out}) map.add(*view);
  return map;
}

void check_memory(const char* op, const char* argument, const TensorView& view) {
  if (view && view.numel() > 0 && view.data() == nullptr) {
    fail(op, argument, "memory", "a null pointer for " + to_string(view));
  }
  const auto address = reinterpret_cast<std::uintptr_t>(view.data());
  if (view && view.numel() > 0 && address % size_of(view.dtype()) != 0) {
    fail(op, argument, "an address that is a multiple of the element's size",
         std::to_string(address) + " for " + to_string(view));
  }
}

namespace {

void check_all_memory(const char* op, std::initializer_list<NamedView> views) {
  for (const NamedView& v : views) check_memory(op, v.name, v.view);
}

}  // namespace

void check_memory(const LinearParams& p, const TensorView& out) {
  const Epilogue& e = p.epilogue;
  check_all_memory("linear", {{"x", p.x},
                              {"weight", p.weight.plain()},
                              {"bias", e.bias},
                              {"row_scale", e.row_scale},
                              {"row_mean", e.row_mean},
                              {"col_scale", e.col_scale},
                              {"col_sum", e.col_sum},
                              {"residual", e.residual},
                              {"out", out}});
}

void check_memory(const QkvParams& p, const TensorView& out) {
  check_all_memory("qkv", {{"x", p.x},
                           {"weight", p.weight.plain()},
                           {"bias", p.bias},
                           {"norm.weight", p.norm.weight},
                           {"norm.bias", p.norm.bias},
                           {"normed_out", p.normed_out},
                           {"out", out}});
}

void check_memory(const MlpParams& p, const TensorView& out) {
  check_all_memory("mlp", {{"x", p.x},
                           {"weight_in", p.weight_in.plain()},
                           {"weight_out", p.weight_out.plain()},
                           {"bias_in", p.bias_in},
                           {"bias_out", p.bias_out},
                           {"norm.weight", p.norm.weight},
                           {"norm.bias", p.norm.bias},
                           {"residual", p.residual},
                           {"input_bias", p.input_bias},
                           {"parallel_residual", p.parallel_residual},
                           {"residual_out", p.residual_out},
                           {"normed_out", p.normed_out},
                           {"out", out}});
}

void check_memory(const NormParams& p, const TensorView& out) {
  check_all_memory("norm", {{"x", p.x},
                            {"norm.weight", p.norm.weight},
                            {"norm.bias", p.norm.bias},
                            {"residual", p.residual},
                            {"bias", p.bias},
                            {"add_after", p.add_after},
                            {"residual_out", p.residual_out},
                            {"out", out}});
}

void check_memory(const ResidualAddParams& p, const TensorView& out) {
  check_all_memory("residual_add", {{"hidden_state", p.hidden_state},
                                    {"residual", p.residual},
                                    {"attention_output", p.attention_output},
                                    {"attention_bias", p.attention_bias},
                                    {"final_bias", p.final_bias},
                                    {"out", out}});
}

}  // namespace detail
}  // namespace postlude
