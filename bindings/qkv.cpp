// Bindings of qkv and of the bound op Qkv.
#include "bound.hpp"
#include "module.hpp"

namespace postlude {
namespace python {
namespace {

// y, or (y, n) where n is wanted.
nb::any results(Call& call, Output& y, Output& n, bool wanted) {
  nb::object first = call.result(y);
  return any(wanted ? nb::make_tuple(first, call.result(n)) : std::move(first));
}

template <Mode mode>
nb::any run(nb::handle x, nb::handle weight, nb::handle bias, nb::handle norm,
            nb::handle return_normed, nb::handle out, nb::handle normed_out, nb::handle stream,
            nb::handle batch_invariant, nb::handle weights_static, nb::handle allow_tf32) {
  Call call("qkv", stream, OptionArguments{batch_invariant, weights_static, allow_tf32}, mode);
  QkvParams params;
  params.x = call.tensor(x, "x");
  params.weight = call.weight(weight, "weight");
  params.bias = call.optional(bias, "bias");
  params.norm = call.norm(norm);
  const bool wanted = call.flag(return_normed, "return_normed");
  call.locate();
  Output y = call.output(out, "out", params.x, weight_rows(params.weight));
  Output n = call.optional_output(normed_out, "normed_out", params.x, wanted);
  params.normed_out = n.view;
  const nb::object text = call.finish(&qkv, params, y);
  return mode == Mode::explain ? any(text) : results(call, y, n, wanted);
}

struct BoundQkv : BoundOp<Qkv> {
  bool return_normed;
};

void init(BoundQkv* self, nb::handle weight, nb::handle bias, nb::handle norm,
          nb::handle return_normed, nb::handle pack, nb::handle batch_invariant,
          nb::handle weights_static, nb::handle allow_tf32) {
  Call call("Qkv", nb::none(), OptionArguments{batch_invariant, weights_static, allow_tf32});
  call.allow_grad();
  QkvParams params;
  params.weight = call.weight(weight, "weight");
  params.bias = call.kept(bias, "bias");
  params.norm = call.kept_norm(norm);
  const bool wanted = call.flag(return_normed, "return_normed");
  new (self) BoundQkv{bind<Qkv>(call, params, pack, {{weight, &QkvParams::weight}}), wanted};
}

nb::any call_bound(const BoundQkv& self, nb::handle x, nb::handle out, nb::handle normed_out,
                   nb::handle stream) {
  Call call("qkv", stream, self.options);
  const TensorView view = call.tensor(x, "x");
  call.locate();
  Output n = call.optional_output(normed_out, "normed_out", view, self.return_normed);
  const QkvParams params = self.op.with(view, n.view);
  Output y = call.output(out, "out", view, weight_rows(params.weight));
  call.finish(&qkv, params, y);
  return results(call, y, n, self.return_normed);
}

}  // namespace

void bind_qkv(nb::module_& m) {
  const auto define = [&m](const char* name, auto function) {
    m.def(name, function, arg("x"), arg("weight"), arg("bias"), arg("norm"), arg("return_normed"),
          arg("out"), arg("normed_out"), arg("stream"), arg("batch_invariant"),
          arg("weights_static"), arg("allow_tf32"));
  };
  define("qkv", &run<Mode::run>);
  define("explain_qkv", &run<Mode::explain>);
  nb::class_<BoundQkv>(m, "Qkv")
      .def("__init__", &init, arg("weight"), arg("bias"), arg("norm"), arg("return_normed"),
           arg("pack"), arg("batch_invariant"), arg("weights_static"), arg("allow_tf32"))
      .def("__call__", &call_bound, arg("x"), arg("out"), arg("normed_out"), arg("stream"))
      .def_prop_ro("packed_bytes", [](const BoundQkv& self) { return self.op.packed_bytes(); });
}

}  // namespace python
}  // namespace postlude
