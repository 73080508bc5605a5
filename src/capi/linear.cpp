// linear of the C interface.
#include "capi/arguments.hpp"
#include "capi/status.hpp"

using namespace postlude::capi;  // NOLINT: C functions alone follow

namespace {

constexpr const char* op = "linear";

postlude_linear_params defaults() {
  postlude_linear_params params{};
  params.alpha = 1.0f;
  return params;
}

postlude::LinearParams params_of(const postlude_linear_params* params) {
  const auto given =
      read_struct({op, "params"}, params, sizeof(postlude_linear_params), defaults());
  postlude::LinearParams p;
  p.x = view_of({op, "x"}, given.x);
  p.weight = weight_of({op, "weight"}, given.weight, given.prepared_weight);
  p.epilogue.bias = view_of({op, "bias"}, given.bias);
  p.epilogue.residual = view_of({op, "residual"}, given.residual);
  p.epilogue.row_scale = view_of({op, "row_scale"}, given.row_scale);
  p.epilogue.row_mean = view_of({op, "row_mean"}, given.row_mean);
  p.epilogue.col_scale = view_of({op, "col_scale"}, given.col_scale);
  p.epilogue.col_sum = view_of({op, "col_sum"}, given.col_sum);
  p.epilogue.activation =
      enumerator({op, "activation"}, given.activation, postlude::Activation::relu2);
  p.epilogue.gated = given.gated != 0;
  p.epilogue.layout = enumerator({op, "layout"}, given.layout, postlude::GateLayout::up_gate);
  p.epilogue.clamp = clamp_of(given.clamp);
  p.epilogue.alpha = given.alpha;
  p.epilogue.out_dtype = optional_dtype({op, "out_dtype"}, given.out_dtype);
  return p;
}

}  // namespace

void postlude_linear_params_init(postlude_linear_params* params, size_t struct_size) {
  write_defaults(params, struct_size, defaults());
}

postlude_status postlude_linear(const postlude_linear_params* params, const postlude_tensor* out,
                                postlude_context* context) {
  return guarded([&] {
    postlude::linear(params_of(params), view_of({op, "out"}, out), context_of(op, context));
  });
}

postlude_status postlude_linear_workspace_size(const postlude_linear_params* params,
                                               const postlude_tensor* out,
                                               const postlude_context* context, size_t* bytes) {
  return guarded([&] { workspace_size_of(op, params_of(params), out, context, bytes); });
}

postlude_status postlude_linear_explain(const postlude_linear_params* params,
                                        const postlude_tensor* out, const postlude_context* context,
                                        char** text) {
  return guarded([&] { explain_to(op, params_of(params), out, context, text); });
}
