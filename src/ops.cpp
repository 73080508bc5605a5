// The public ops: each checks its params, plans, and launches the plan once a slab of rows.
#include "postlude/ops.hpp"

#include <cstdint>
#include <string>

#include "backend.hpp"
#include "check.hpp"
#include "plan.hpp"

namespace postlude {
inline namespace v1 {
namespace {

using detail::ContextState;

template <class Params>
void run(const char* op, const Params& params, const TensorView& out, Context& context) {
  ContextState& state = context.state();
  const detail::RowMap rows = detail::check(params, out, state);
  if (rows.slabs() == 0) return;
  detail::check_memory(params, out);
  const auto workspace = reinterpret_cast<std::uintptr_t>(state.workspace);
  for (std::int64_t slab = 0; slab < rows.slabs(); ++slab) {
    const detail::Plan plan = detail::make_plan(params, out, {rows, slab, workspace, state});
    if (plan.workspace_bytes > state.workspace_bytes) {
      detail::fail(op, "workspace", "at least " + std::to_string(plan.workspace_bytes) + " bytes",
                   std::to_string(state.workspace_bytes));
    }
    detail::execute(plan, state);
  }
}

template <class Params>
detail::Plan plan_of(const Params& params, const TensorView& out, const Context& context) {
  const ContextState& state = context.state();
  const detail::RowMap rows = detail::check(params, out, state);
  if (rows.slabs() == 0) return {};
  return detail::make_plan(params, out, {rows, 0, 0, state});
}

template <class Params>
std::string explanation(const char* op, const Params& params, const TensorView& out,
                        const Context& context) {
  return std::string(op) + " on " + to_string(context.device()) + "\n" +
         detail::describe(plan_of(params, out, context), context.state());
}

}  // namespace

void linear(const LinearParams& p, const TensorView& out, Context& c) { run("linear", p, out, c); }
void qkv(const QkvParams& p, const TensorView& out, Context& c) { run("qkv", p, out, c); }
void mlp(const MlpParams& p, const TensorView& out, Context& c) { run("mlp", p, out, c); }
void norm(const NormParams& p, const TensorView& out, Context& c) { run("norm", p, out, c); }
void residual_add(const ResidualAddParams& p, const TensorView& out, Context& c) {
  run("residual_add", p, out, c);
}

std::size_t workspace_size(const LinearParams& p, const TensorView& out, const Context& c) {
  return plan_of(p, out, c).workspace_bytes;
}
std::size_t workspace_size(const QkvParams& p, const TensorView& out, const Context& c) {
  return plan_of(p, out, c).workspace_bytes;
}
std::size_t workspace_size(const MlpParams& p, const TensorView& out, const Context& c) {
  return plan_of(p, out, c).workspace_bytes;
}
std::size_t workspace_size(const NormParams& p, const TensorView& out, const Context& c) {
  return plan_of(p, out, c).workspace_bytes;
}
std::size_t workspace_size(const ResidualAddParams& p, const TensorView& out, const Context& c) {
  return plan_of(p, out, c).workspace_bytes;
}

std::string explain(const LinearParams& p, const TensorView& out, const Context& c) {
  return explanation("linear", p, out, c);
}
std::string explain(const QkvParams& p, const TensorView& out, const Context& c) {
  return explanation("qkv", p, out, c);
}
std::string explain(const MlpParams& p, const TensorView& out, const Context& c) {
  return explanation("mlp", p, out, c);
}
std::string explain(const NormParams& p, const TensorView& out, const Context& c) {
  return explanation("norm", p, out, c);
}
std::string explain(const ResidualAddParams& p, const TensorView& out, const Context& c) {
  return explanation("residual_add", p, out, c);
}

}  // namespace v1
}  // namespace postlude
