// qkv of the C interface.
#include "capi/arguments.hpp"
#include "capi/status.hpp"

using namespace postlude::capi;  // NOLINT: C functions alone follow

namespace {

constexpr const char* op = "qkv";

postlude::QkvParams params_of(const postlude_qkv_params* params) {
  const auto given = read_struct({op, "params"}, params, sizeof(postlude_qkv_params), {});
  postlude::QkvParams p;
  p.x = view_of({op, "x"}, given.x);
  p.weight = weight_of({op, "weight"}, given.weight, given.prepared_weight);
  p.bias = view_of({op, "bias"}, given.bias);
  p.norm = norm_of(op, given.norm);
  p.normed_out = view_of({op, "normed_out"}, given.normed_out);
  return p;
}

}  // namespace

void postlude_qkv_params_init(postlude_qkv_params* params, size_t struct_size) {
  write_defaults(params, struct_size, {});
}

postlude_status postlude_qkv(const postlude_qkv_params* params, const postlude_tensor* out,
                             postlude_context* context) {
  return guarded([&] {
    postlude::qkv(params_of(params), view_of({op, "out"}, out), context_of(op, context));
  });
}

postlude_status postlude_qkv_workspace_size(const postlude_qkv_params* params,
                                            const postlude_tensor* out,
                                            const postlude_context* context, size_t* bytes) {
  return guarded([&] { workspace_size_of(op, params_of(params), out, context, bytes); });
}

postlude_status postlude_qkv_explain(const postlude_qkv_params* params, const postlude_tensor* out,
                                     const postlude_context* context, char** text) {
  return guarded([&] { explain_to(op, params_of(params), out, context, text); });
}
