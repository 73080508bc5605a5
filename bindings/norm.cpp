// Bindings of norm and residual_add.
#include "call.hpp"
#include "module.hpp"
#include "names.hpp"

namespace postlude {
namespace python {
namespace {

template <Mode mode>
nb::any run_norm(nb::handle x, nb::handle norm_object, nb::handle residual, nb::handle bias,
                 nb::handle add_after, nb::handle out, nb::handle residual_out, nb::handle stream,
                 nb::handle batch_invariant) {
  Call call("norm", stream, OptionArguments{batch_invariant}, mode);
  NormParams params;
  params.x = call.tensor(x, "x");
  params.norm = call.norm(norm_object);
  params.residual = call.optional(residual, "residual");
  params.bias = call.optional(bias, "bias");
  params.add_after = call.optional(add_after, "add_after");
  call.locate();
  Output n = call.output(out, "out", params.x, params.x.rank() < 1 ? -1 : params.x.size(-1));
  const bool wanted = params.residual || params.bias || !residual_out.is_none();
  Output r = call.optional_output(residual_out, "residual_out", params.x, wanted);
  params.residual_out = r.view;
  const nb::object text = call.finish(&norm, params, n);
  if (mode == Mode::explain) return any(text);
  nb::object first = call.result(n);
  return any(wanted ? nb::make_tuple(first, call.result(r)) : std::move(first));
}

template <Mode mode>
nb::any run_residual_add(nb::handle hidden_state, nb::handle residual, nb::handle form,
                         nb::handle attention_output, nb::handle attention_bias,
                         nb::handle final_bias, nb::handle mp_size, nb::handle out,
                         nb::handle stream, nb::handle batch_invariant) {
  Call call("residual_add", stream, OptionArguments{batch_invariant}, mode);
  ResidualAddParams params;
  params.hidden_state = call.tensor(hidden_state, "hidden_state");
  params.residual = call.tensor(residual, "residual");
  params.form = residual_form_of("residual_add", call.text(form, "form"));
  params.attention_output = call.optional(attention_output, "attention_output");
  params.attention_bias = call.optional(attention_bias, "attention_bias");
  params.final_bias = call.optional(final_bias, "final_bias");
  params.mp_size = call.integer(mp_size, "mp_size");
  call.locate();
  const TensorView& h = params.hidden_state;
  Output y = call.output(out, "out", h, h.rank() < 1 ? -1 : h.size(-1));
  const nb::object text = call.finish(&residual_add, params, y);
  return any(mode == Mode::explain ? text : call.result(y));
}

}  // namespace

void bind_norm(nb::module_& m) {
  const auto define_norm = [&m](const char* name, auto function) {
    m.def(name, function, arg("x"), arg("norm"), arg("residual"), arg("bias"), arg("add_after"),
          arg("out"), arg("residual_out"), arg("stream"), arg("batch_invariant"));
  };
  define_norm("norm", &run_norm<Mode::run>);
  define_norm("explain_norm", &run_norm<Mode::explain>);
  const auto define_residual_add = [&m](const char* name, auto function) {
    m.def(name, function, arg("hidden_state"), arg("residual"), arg("form"),
          arg("attention_output"), arg("attention_bias"), arg("final_bias"), arg("mp_size"),
          arg("out"), arg("stream"), arg("batch_invariant"));
  };
  define_residual_add("residual_add", &run_residual_add<Mode::run>);
  define_residual_add("explain_residual_add", &run_residual_add<Mode::explain>);
}

}  // namespace python
}  // namespace postlude
