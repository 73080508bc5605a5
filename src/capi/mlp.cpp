// mlp of the C interface.
#include "capi/arguments.hpp"
#include "capi/status.hpp"

using namespace postlude::capi;  // NOLINT: C functions alone follow

namespace {

constexpr const char* op = "mlp";

postlude_mlp_params defaults() {
  postlude_mlp_params params{};
  params.add_residual = 1;
  return params;
}

postlude::MlpParams params_of(const postlude_mlp_params* params) {
  const auto given = read_struct({op, "params"}, params, sizeof(postlude_mlp_params), defaults());
  postlude::MlpParams p;
  p.x = view_of({op, "x"}, given.x);
  p.weight_in = weight_of({op, "weight_in"}, given.weight_in, given.prepared_weight_in);
  p.weight_out = weight_of({op, "weight_out"}, given.weight_out, given.prepared_weight_out);
  p.bias_in = view_of({op, "bias_in"}, given.bias_in);
  p.bias_out = view_of({op, "bias_out"}, given.bias_out);
  p.activation = enumerator({op, "activation"}, given.activation, postlude::Activation::relu2);
  p.gated = given.gated != 0;
  p.layout = enumerator({op, "layout"}, given.layout, postlude::GateLayout::up_gate);
  p.clamp = clamp_of(given.clamp);
  p.norm = norm_of(op, given.norm);
  p.residual = view_of({op, "residual"}, given.residual);
  p.input_bias = view_of({op, "input_bias"}, given.input_bias);
  p.add_residual = given.add_residual != 0;
  p.parallel_residual = view_of({op, "parallel_residual"}, given.parallel_residual);
  p.residual_out = view_of({op, "residual_out"}, given.residual_out);
  p.normed_out = view_of({op, "normed_out"}, given.normed_out);
  return p;
}

}  // namespace

void postlude_mlp_params_init(postlude_mlp_params* params, size_t struct_size) {
  write_defaults(params, struct_size, defaults());
}

postlude_status postlude_mlp(const postlude_mlp_params* params, const postlude_tensor* out,
                             postlude_context* context) {
  return guarded([&] {
    postlude::mlp(params_of(params), view_of({op, "out"}, out), context_of(op, context));
  });
}

postlude_status postlude_mlp_workspace_size(const postlude_mlp_params* params,
                                            const postlude_tensor* out,
                                            const postlude_context* context, size_t* bytes) {
  return guarded([&] { workspace_size_of(op, params_of(params), out, context, bytes); });
}

postlude_status postlude_mlp_explain(const postlude_mlp_params* params, const postlude_tensor* out,
                                     const postlude_context* context, char** text) {
  return guarded([&] { explain_to(op, params_of(params), out, context, text); });
}
