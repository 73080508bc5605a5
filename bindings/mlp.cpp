// Bindings of mlp and of the bound op Mlp.
#include "bound.hpp"
#include "module.hpp"

namespace postlude {
namespace python {
namespace {

struct Wanted {
  bool residual = false;
  bool normed = false;
};

// y, or (y, [r], [n]) of what is wanted.
nb::any results(Call& call, Output& y, Output& r, Output& n, Wanted wanted) {
  nb::object first = call.result(y);
  if (wanted.residual && wanted.normed) {
    return any(nb::make_tuple(first, call.result(r), call.result(n)));
  }
  if (wanted.residual) return any(nb::make_tuple(first, call.result(r)));
  if (wanted.normed) return any(nb::make_tuple(first, call.result(n)));
  return any(std::move(first));
}

template <Mode mode>
nb::any run(nb::handle x, nb::handle weight_in, nb::handle weight_out, nb::handle bias_in,
            nb::handle bias_out, nb::handle activation, nb::handle gated, nb::handle layout,
            nb::handle clamp, nb::handle norm, nb::handle residual, nb::handle input_bias,
            nb::handle add_residual, nb::handle return_residual, nb::handle return_normed,
            nb::handle out, nb::handle residual_out, nb::handle normed_out, nb::handle stream,
            nb::handle batch_invariant, nb::handle weights_static, nb::handle allow_tf32) {
  Call call("mlp", stream, OptionArguments{batch_invariant, weights_static, allow_tf32}, mode);
  MlpParams params;
  params.x = call.tensor(x, "x");
  params.weight_in = call.weight(weight_in, "weight_in");
  params.weight_out = call.weight(weight_out, "weight_out");
  params.bias_in = call.optional(bias_in, "bias_in");
  params.bias_out = call.optional(bias_out, "bias_out");
  params.activation = call.activation(activation);
  params.gated = call.flag(gated, "gated");
  params.layout = call.layout(layout);
  params.clamp = call.clamp(clamp);
  params.norm = call.norm(norm);
  params.residual = call.optional(residual, "residual");
  params.input_bias = call.optional(input_bias, "input_bias");
  const bool parallel = !PyBool_Check(add_residual.ptr());
  if (parallel) params.parallel_residual = call.tensor(add_residual, "add_residual");
  params.add_residual = parallel || call.flag(add_residual, "add_residual");
  const Wanted wanted{call.flag(return_residual, "return_residual"),
                      call.flag(return_normed, "return_normed")};
  call.locate();
  Output y = call.output(out, "out", params.x, weight_rows(params.weight_out));
  Output r = call.optional_output(residual_out, "residual_out", params.x, wanted.residual);
  Output n = call.optional_output(normed_out, "normed_out", params.x, wanted.normed);
  params.residual_out = r.view;
  params.normed_out = n.view;
  const nb::object text = call.finish(&mlp, params, y);
  return mode == Mode::explain ? any(text) : results(call, y, r, n, wanted);
}

struct BoundMlp : BoundOp<Mlp> {
  Wanted wanted;
};

void init(BoundMlp* self, nb::handle weight_in, nb::handle weight_out, nb::handle bias_in,
          nb::handle bias_out, nb::handle activation, nb::handle gated, nb::handle layout,
          nb::handle clamp, nb::handle norm, nb::handle add_residual, nb::handle return_residual,
          nb::handle return_normed, nb::handle pack, nb::handle batch_invariant,
          nb::handle weights_static, nb::handle allow_tf32) {
  Call call("Mlp", nb::none(), OptionArguments{batch_invariant, weights_static, allow_tf32});
  call.allow_grad();
  MlpParams params;
  params.weight_in = call.weight(weight_in, "weight_in");
  params.weight_out = call.weight(weight_out, "weight_out");
  params.bias_in = call.kept(bias_in, "bias_in");
  params.bias_out = call.kept(bias_out, "bias_out");
  params.activation = call.activation(activation);
  params.gated = call.flag(gated, "gated");
  params.layout = call.layout(layout);
  params.clamp = call.clamp(clamp);
  params.norm = call.kept_norm(norm);
  params.add_residual = call.flag(add_residual, "add_residual");
  const Wanted wanted{call.flag(return_residual, "return_residual"),
                      call.flag(return_normed, "return_normed")};
  new (self) BoundMlp{
      bind<Mlp>(call, params, pack,
                {{weight_in, &MlpParams::weight_in}, {weight_out, &MlpParams::weight_out}}),
      wanted};
}

nb::any call_bound(const BoundMlp& self, nb::handle x, nb::handle residual, nb::handle input_bias,
                   nb::handle add_residual, nb::handle out, nb::handle residual_out,
                   nb::handle normed_out, nb::handle stream) {
  Call call("mlp", stream, self.options);
  MlpActivations activations;
  activations.x = call.tensor(x, "x");
  activations.residual = call.optional(residual, "residual");
  activations.input_bias = call.optional(input_bias, "input_bias");
  activations.parallel_residual = call.optional(add_residual, "add_residual");
  call.locate();
  Output r =
      call.optional_output(residual_out, "residual_out", activations.x, self.wanted.residual);
  Output n = call.optional_output(normed_out, "normed_out", activations.x, self.wanted.normed);
  activations.residual_out = r.view;
  activations.normed_out = n.view;
  const MlpParams params = self.op.with(activations);
  Output y = call.output(out, "out", params.x, weight_rows(params.weight_out));
  call.finish(&mlp, params, y);
  return results(call, y, r, n, self.wanted);
}

}  // namespace

void bind_mlp(nb::module_& m) {
  const auto define = [&m](const char* name, auto function) {
    m.def(name, function, arg("x"), arg("weight_in"), arg("weight_out"), arg("bias_in"),
          arg("bias_out"), arg("activation"), arg("gated"), arg("layout"), arg("clamp"),
          arg("norm"), arg("residual"), arg("input_bias"), arg("add_residual"),
          arg("return_residual"), arg("return_normed"), arg("out"), arg("residual_out"),
          arg("normed_out"), arg("stream"), arg("batch_invariant"), arg("weights_static"),
          arg("allow_tf32"));
  };
  define("mlp", &run<Mode::run>);
  define("explain_mlp", &run<Mode::explain>);
  nb::class_<BoundMlp>(m, "Mlp")
      .def("__init__", &init, arg("weight_in"), arg("weight_out"), arg("bias_in"), arg("bias_out"),
           arg("activation"), arg("gated"), arg("layout"), arg("clamp"), arg("norm"),
           arg("add_residual"), arg("return_residual"), arg("return_normed"), arg("pack"),
           arg("batch_invariant"), arg("weights_static"), arg("allow_tf32"))
      .def("__call__", &call_bound, arg("x"), arg("residual"), arg("input_bias"),
           arg("add_residual"), arg("out"), arg("residual_out"), arg("normed_out"), arg("stream"))
      .def_prop_ro("packed_bytes", [](const BoundMlp& self) { return self.op.packed_bytes(); });
}

}  // namespace python
}  // namespace postlude
