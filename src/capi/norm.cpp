// normalize of the C interface, which C++ calls norm.
#include "capi/arguments.hpp"
#include "capi/status.hpp"

using namespace postlude::capi;  // NOLINT: C functions alone follow

namespace {

constexpr const char* op = "norm";  // as the C++ interface's own messages have it

postlude::NormParams params_of(const postlude_norm_params* params) {
  const auto given = read_struct({op, "params"}, params, sizeof(postlude_norm_params), {});
  postlude::NormParams p;
  p.x = view_of({op, "x"}, given.x);
  p.norm = norm_of(op, given.norm);
  p.residual = view_of({op, "residual"}, given.residual);
  p.bias = view_of({op, "bias"}, given.bias);
  p.add_after = view_of({op, "add_after"}, given.add_after);
  p.residual_out = view_of({op, "residual_out"}, given.residual_out);
  return p;
}

}  // namespace

void postlude_norm_params_init(postlude_norm_params* params, size_t struct_size) {
  write_defaults(params, struct_size, {});
}

postlude_status postlude_normalize(const postlude_norm_params* params, const postlude_tensor* out,
                                   postlude_context* context) {
  return guarded([&] {
    postlude::norm(params_of(params), view_of({op, "out"}, out), context_of(op, context));
  });
}

postlude_status postlude_normalize_workspace_size(const postlude_norm_params* params,
                                                  const postlude_tensor* out,
                                                  const postlude_context* context, size_t* bytes) {
  return guarded([&] { workspace_size_of(op, params_of(params), out, context, bytes); });
}

postlude_status postlude_normalize_explain(const postlude_norm_params* params,
                                           const postlude_tensor* out,
                                           const postlude_context* context, char** text) {
  return guarded([&] { explain_to(op, params_of(params), out, context, text); });
}
