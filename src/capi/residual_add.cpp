// residual_add of the C interface.
#include "capi/arguments.hpp"
#include "capi/status.hpp"

using namespace postlude::capi;  // NOLINT: C functions alone follow

namespace {

constexpr const char* op = "residual_add";

postlude_residual_add_params defaults() {
  postlude_residual_add_params params{};
  params.mp_size = 1;
  return params;
}

postlude::ResidualAddParams params_of(const postlude_residual_add_params* params) {
  const auto given =
      read_struct({op, "params"}, params, sizeof(postlude_residual_add_params), defaults());
  postlude::ResidualAddParams p;
  p.hidden_state = view_of({op, "hidden_state"}, given.hidden_state);
  p.residual = view_of({op, "residual"}, given.residual);
  p.attention_output = view_of({op, "attention_output"}, given.attention_output);
  p.attention_bias = view_of({op, "attention_bias"}, given.attention_bias);
  p.final_bias = view_of({op, "final_bias"}, given.final_bias);
  p.form = enumerator({op, "form"}, given.form, postlude::ResidualForm::parallel);
  p.mp_size = given.mp_size;
  return p;
}

}  // namespace

void postlude_residual_add_params_init(postlude_residual_add_params* params, size_t struct_size) {
  write_defaults(params, struct_size, defaults());
}

postlude_status postlude_residual_add(const postlude_residual_add_params* params,
                                      const postlude_tensor* out, postlude_context* context) {
  return guarded([&] {
    postlude::residual_add(params_of(params), view_of({op, "out"}, out), context_of(op, context));
  });
}

postlude_status postlude_residual_add_workspace_size(const postlude_residual_add_params* params,
                                                     const postlude_tensor* out,
                                                     const postlude_context* context,
                                                     size_t* bytes) {
  return guarded([&] { workspace_size_of(op, params_of(params), out, context, bytes); });
}

postlude_status postlude_residual_add_explain(const postlude_residual_add_params* params,
                                              const postlude_tensor* out,
                                              const postlude_context* context, char** text) {
  return guarded([&] { explain_to(op, params_of(params), out, context, text); });
}
