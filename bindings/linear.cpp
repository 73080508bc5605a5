// Bindings of linear and of the bound op Linear.
#include "bound.hpp"
#include "module.hpp"

namespace postlude {
namespace python {
namespace {

std::int64_t columns(const WeightRef& weight, bool gated) {
  const std::int64_t rows = weight_rows(weight);
  return rows < 0 || !gated ? rows : rows / 2;
}

template <Mode mode>
nb::any run(nb::handle x, nb::handle weight, nb::handle bias, nb::handle activation,
            nb::handle gated, nb::handle layout, nb::handle residual, nb::handle alpha,
            nb::handle clamp, nb::handle out, nb::handle stream, nb::handle batch_invariant,
            nb::handle weights_static, nb::handle allow_tf32) {
  Call call("linear", stream, OptionArguments{batch_invariant, weights_static, allow_tf32}, mode);
  LinearParams params;
  params.x = call.tensor(x, "x");
  params.weight = call.weight(weight, "weight");
  Epilogue& epilogue = params.epilogue;
  epilogue.bias = call.optional(bias, "bias");
  epilogue.activation = call.activation(activation);
  epilogue.gated = call.flag(gated, "gated");
  epilogue.layout = call.layout(layout);
  epilogue.residual = call.optional(residual, "residual");
  epilogue.alpha = static_cast<float>(call.number(alpha, "alpha"));
  epilogue.clamp = call.clamp(clamp);
  call.locate();
  Output y = call.output(out, "out", params.x, columns(params.weight, epilogue.gated));
  const nb::object text = call.finish(&linear, params, y);
  return any(mode == Mode::explain ? text : call.result(y));
}

using BoundLinear = BoundOp<Linear>;

void init(BoundLinear* self, nb::handle weight, nb::handle bias, nb::handle activation,
          nb::handle gated, nb::handle layout, nb::handle alpha, nb::handle clamp, nb::handle pack,
          nb::handle batch_invariant, nb::handle weights_static, nb::handle allow_tf32) {
  Call call("Linear", nb::none(), OptionArguments{batch_invariant, weights_static, allow_tf32});
  call.allow_grad();
  LinearParams params;
  params.weight = call.weight(weight, "weight");
  Epilogue& epilogue = params.epilogue;
  epilogue.bias = call.kept(bias, "bias");
  epilogue.activation = call.activation(activation);
  epilogue.gated = call.flag(gated, "gated");
  epilogue.layout = call.layout(layout);
  epilogue.alpha = static_cast<float>(call.number(alpha, "alpha"));
  epilogue.clamp = call.clamp(clamp);
  new (self) BoundLinear(bind<Linear>(call, params, pack, {{weight, &LinearParams::weight}}));
}

nb::any call_bound(const BoundLinear& self, nb::handle x, nb::handle residual, nb::handle out,
                   nb::handle stream) {
  Call call("linear", stream, self.options);
  const TensorView view = call.tensor(x, "x");
  const LinearParams params = self.op.with(view, call.optional(residual, "residual"));
  call.locate();
  Output y = call.output(out, "out", view, columns(params.weight, params.epilogue.gated));
  call.finish(&linear, params, y);
  return any(call.result(y));
}

}  // namespace

void bind_linear(nb::module_& m) {
  const auto define = [&m](const char* name, auto function) {
    m.def(name, function, arg("x"), arg("weight"), arg("bias"), arg("activation"), arg("gated"),
          arg("layout"), arg("residual"), arg("alpha"), arg("clamp"), arg("out"), arg("stream"),
          arg("batch_invariant"), arg("weights_static"), arg("allow_tf32"));
  };
  define("linear", &run<Mode::run>);
  define("explain_linear", &run<Mode::explain>);
  nb::class_<BoundLinear>(m, "Linear")
      .def("__init__", &init, arg("weight"), arg("bias"), arg("activation"), arg("gated"),
           arg("layout"), arg("alpha"), arg("clamp"), arg("pack"), arg("batch_invariant"),
           arg("weights_static"), arg("allow_tf32"))
      .def("__call__", &call_bound, arg("x"), arg("residual"), arg("out"), arg("stream"))
      .def_prop_ro("packed_bytes", [](const BoundLinear& self) { return self.op.packed_bytes(); });
}

}  // namespace python
}  // namespace postlude
