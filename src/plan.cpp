// Plans: see plan.hpp.
#include "plan.hpp"

#include <algorithm>
#include <sstream>

#include "check.hpp"
#include "postlude/error.hpp"

namespace postlude {
namespace detail {
namespace {

// Builds a plan step by step: intermediates live in the workspace one after another, kernels'
// scratch memory, which no two steps use at once, shares what comes after them.
class Builder {
 public:
  explicit Builder(const PlanInput& input) : input_(input) {}

  // An intermediate (m, h) in the workspace.
  Rows intermediate(std::int64_t h, DType dtype) {
    if (static_cast<double>(m()) * static_cast<double>(h) >
        static_cast<double>(TensorView::max_elements)) {
      throw Unsupported("[workspace] intermediate: expected at most 2^60 elements, got " +
                        std::to_string(m()) + " rows of " + std::to_string(h));
    }
    Rows rows;
    rows.present = true;
    rows.dtype = dtype;
    rows.stride = h;
    rows.data = reinterpret_cast<void*>(input_.workspace + intermediates_);
    intermediates_ +=
        align_up(static_cast<std::size_t>(m()) * static_cast<std::size_t>(h) * size_of(dtype));
    return rows;
  }

  void gemm(const Gemm& gemm) {
    GemmStep step;
    step.gemm = gemm;
    if (m() > 0 && gemm.n > 0) {
      step.kernel = choose(step);
      scratch_ = std::max(scratch_, step.kernel->workspace(step.gemm, input_.context));
    }
    add(step);
  }

  // n = norm(x) and the product with it in one kernel, where there is one for that.
  bool gemm_with_norm(const NormCall& call, Gemm gemm) {
    gemm.norm = call;
    gemm.x = call.x;
    if (m() == 0 || gemm.n == 0) return false;
    for (const GemmKernel* kernel : input_.context.backend->gemm_kernels()) {
      if (!kernel->takes_norm() || kernel->can_run(gemm, input_.context) != nullptr) continue;
      scratch_ = std::max(scratch_, kernel->workspace(gemm, input_.context));
      GemmStep step;
      step.gemm = gemm;
      step.kernel = kernel;
      add(step);
      return true;
    }
    return false;
  }

  void norm(const NormCall& call) {
    scratch_ = std::max(scratch_, input_.context.backend->norm_workspace(call, input_.context));
    add(NormStep{call, 0});
  }

  void residual(const ResidualCall& call) { add(ResidualStep{call}); }
  void copy(const Rows& from, const Rows& to, std::int64_t h) { add(CopyStep{from, to, m(), h}); }

  void note(const char* text) { plan_.note = text; }

  Plan finish() {
    for (int i = 0; i < plan_.count; ++i) {
      Step& step = plan_.steps[static_cast<std::size_t>(i)];
      if (auto* gemm = std::get_if<GemmStep>(&step))
        gemm->workspace = input_.workspace + intermediates_;
      if (auto* norm = std::get_if<NormStep>(&step))
        norm->workspace = input_.workspace + intermediates_;
    }
    plan_.workspace_bytes = intermediates_ + align_up(scratch_);
    return plan_;
  }

  std::int64_t m() const { return input_.rows.rows(); }
  Rows at(const TensorView& view) const { return input_.rows.at(view, input_.slab); }
  const ContextState& context() const { return input_.context; }

 private:
  template <class S>
  void add(const S& step) {
    plan_.steps[static_cast<std::size_t>(plan_.count++)] = step;
  }

  // The kernel of the tune table's entry, where there is one that holds, with the tile in the gemm;
  // else the first that runs it.
  const GemmKernel* choose(GemmStep& step) const {
    Gemm& gemm = step.gemm;
    if (const Tuning* tuning = input_.context.tuning.get()) {
      if (const Tuning::Choice* tuned = tuning->find(gemm)) {
        step.tuned = tuned->entry;
        step.tuned_refusal = tuned->kernel->can_run(gemm, input_.context);
        if (step.tuned_refusal == nullptr) {
          step.tuned_refusal = tuned->kernel->can_take(tuned->tile, gemm, input_.context);
        }
        if (step.tuned_refusal == nullptr) {
          gemm.tile = tuned->tile;
          return tuned->kernel;
        }
      }
    }
    std::string refusals;
    for (const GemmKernel* kernel : input_.context.backend->gemm_kernels()) {
      const char* reason = kernel->can_run(gemm, input_.context);
      if (reason == nullptr) return kernel;
      refusals += std::string("\n  ") + kernel->name() + ": " + reason;
    }
    throw Unsupported("[" + std::string(gemm.op) + "] no kernel on " +
                      to_string(input_.context.device) + " runs " + to_string(gemm) + refusals);
  }

  const PlanInput& input_;
  Plan plan_;
  std::size_t intermediates_ = 0;
  std::size_t scratch_ = 0;
};

Vector vector(const TensorView& view, bool scalar = false) {
  return Vector{view.data(), view.dtype(), static_cast<bool>(view), scalar};
}

// A scale vector, which may hold one value for all.
Vector scale(const TensorView& view, std::int64_t size, std::int64_t first = 0) {
  if (!view) return Vector{};
  const bool scalar = view.size(0) == 1 && size != 1;
  const auto* data = static_cast<const float*>(view.data());
  return Vector{scalar || first == 0 ? data : data + first, DType::f32, true, scalar};
}

WeightOperand operand(const WeightRef& weight) {
  if (weight.prepared()) return weight.prepared().state()->operand;
  const TensorView& w = weight.plain();
  WeightOperand o;
  o.data = w.data();
  o.dtype = w.dtype();
  // Of a dimension of size 1 or 0 the stride says nothing: give it the value of a contiguous
  // matrix.
  o.stride_k = w.size(1) <= 1 ? 1 : w.stride(1);
  o.stride_n =
      w.size(0) <= 1 ? (o.stride_k == 1 ? std::max<std::int64_t>(w.size(1), 1) : 1) : w.stride(0);
  return o;
}

Gemm base_gemm(const char* op, const Builder& b, const Rows& x, const WeightRef& weight,
               bool gated) {
  Gemm g;
  g.op = op;
  g.m = b.m();
  g.n = gated ? out_features(weight) / 2 : out_features(weight);
  g.k = in_features(weight);
  g.x = x;
  g.weight = operand(weight);
  g.gated = gated;
  g.batch_invariant = b.context().batch_invariant;
  g.weights_static = b.context().weights_static;
  g.allow_tf32 = b.context().allow_tf32;
  return g;
}

NormCall base_norm(const char* op, const Builder& b, const TensorView& x, const Norm& norm) {
  NormCall c;
  c.op = op;
  c.m = b.m();
  c.h = x.size(-1);
  c.x = b.at(x);
  if (!norm) return c;  // its other fields are neither checked nor used then
  c.kind = norm.kind;
  c.weight = vector(norm.weight);
  c.norm_bias = vector(norm.bias);
  c.eps = norm.eps;
  c.weight_offset = norm.weight_offset;
  return c;
}

// A GEMM whose output is the memory of its own input goes through the workspace.
void gemm_with_copy(Builder& b, Gemm gemm, bool out_is_x) {
  if (!out_is_x) return b.gemm(gemm);
  const Rows out = gemm.out;
  gemm.out = b.intermediate(gemm.n, out.dtype);
  b.gemm(gemm);
  b.copy(gemm.out, out, gemm.n);
}

}  // namespace

Plan make_plan(const LinearParams& p, const TensorView& out, const PlanInput& input) {
  Builder b(input);
  const Epilogue& e = p.epilogue;
  Gemm g = base_gemm("linear", b, b.at(p.x), p.weight, e.gated);
  const std::int64_t first = input.slab * b.m();
  const std::int64_t all = input.rows.slabs() * b.m();
  g.row_scale = scale(e.row_scale, all, first);
  g.row_mean = scale(e.row_mean, all, first);
  g.col_scale = scale(e.col_scale, g.weight_rows());
  g.col_sum = scale(e.col_sum, g.weight_rows());
  g.bias = vector(e.bias);
  g.activation = e.activation;
  g.layout = e.layout;
  g.clamp = e.clamp.value_or(0.0f);
  g.alpha = e.alpha;
  g.residual = b.at(e.residual);
  g.out = b.at(out);
  gemm_with_copy(b, g, same_memory(out, p.x));
  return b.finish();
}

namespace {

bool same_vector(const TensorView& view, const void* data, DType dtype) {
  return view ? view.data() == data && view.dtype() == dtype : data == nullptr;
}

// Null where the weight holds this call's norm folded in; else why the norm runs by itself.
const char* unfolded(const QkvParams& p) {
  if (!p.weight.prepared()) return "the weight is not packed";
  const FoldedNorm& f = p.weight.prepared().state()->folded;
  if (f.refusal != nullptr) return f.refusal;
  if (f.kind == NormKind::none) return "the weight holds none";
  const bool same = f.kind == p.norm.kind && f.eps == p.norm.eps &&
                    f.weight_offset == p.norm.weight_offset &&
                    same_vector(p.norm.weight, f.norm_weight, f.norm_weight_dtype) &&
                    same_vector(p.norm.bias, f.norm_bias, f.norm_bias_dtype);
  if (!same) return "the weight holds another";
  return p.normed_out ? "its result is wanted" : nullptr;
}

Vector row_vector(const Rows& rows) { return Vector{rows.data, rows.dtype, rows.present, false}; }

Vector column_vector(const float* data) { return Vector{data, DType::f32, data != nullptr, false}; }

// The statistics of x alone, and the norm within the product.
Plan folded_plan(const QkvParams& p, const TensorView& out, Builder& b) {
  const FoldedNorm& f = p.weight.prepared().state()->folded;
  NormCall c = base_norm("qkv", b, p.x, p.norm);
  c.weight = c.norm_bias = Vector{};
  c.rstd_out = b.intermediate(1, DType::f32);
  if (f.kind == NormKind::layer) c.mean_out = b.intermediate(1, DType::f32);
  b.norm(c);
  Gemm g = base_gemm("qkv", b, c.x, p.weight, false);
  g.weight = f.operand;
  g.row_scale = row_vector(c.rstd_out);
  g.row_mean = row_vector(c.mean_out);
  g.col_sum = column_vector(f.col_sum);
  g.shift = column_vector(f.shift);
  g.bias = vector(p.bias);
  g.out = b.at(out);
  gemm_with_copy(b, g, same_memory(out, p.x));
  return b.finish();
}

}  // namespace

Plan make_plan(const QkvParams& p, const TensorView& out, const PlanInput& input) {
  Builder b(input);
  Rows x = b.at(p.x);
  const bool normed = p.norm || p.normed_out;
  if (p.norm) {
    const char* reason = unfolded(p);
    if (reason == nullptr) return folded_plan(p, out, b);
    b.note(reason);
  }
  if (normed) {
    NormCall c = base_norm("qkv", b, p.x, p.norm);
    c.n_out = p.normed_out ? b.at(p.normed_out) : b.intermediate(c.h, p.x.dtype());
    b.norm(c);
    x = c.n_out;
  }
  Gemm g = base_gemm("qkv", b, x, p.weight, false);
  g.bias = vector(p.bias);
  g.out = b.at(out);
  gemm_with_copy(b, g, !normed && same_memory(out, p.x));
  return b.finish();
}

Plan make_plan(const MlpParams& p, const TensorView& out, const PlanInput& input) {
  Builder b(input);
  const DType dtype = p.x.dtype();
  const bool sums = p.residual || p.input_bias;
  const bool adds_r = p.add_residual && !p.parallel_residual;
  Gemm first = base_gemm("mlp", b, b.at(p.x), p.weight_in, p.gated);
  first.bias = vector(p.bias_in);
  first.activation = p.activation;
  first.layout = p.layout;
  first.clamp = p.clamp.value_or(0.0f);
  Rows r = first.x;
  bool done = false;  // the first product, with the norm in it
  if (sums || p.norm || p.residual_out || p.normed_out) {
    NormCall c = base_norm("mlp", b, p.x, p.norm);
    c.residual = b.at(p.residual);
    c.bias = vector(p.input_bias);
    if (p.residual_out) {
      c.r_out = b.at(p.residual_out);
    } else if (sums && (adds_r || (!p.norm && !p.normed_out))) {
      c.r_out = b.intermediate(c.h, dtype);
    }
    if (c.r_out.present) r = c.r_out;
    if (p.normed_out) c.n_out = b.at(p.normed_out);
    if (p.norm) {
      // Counted always: whether the norm is within depends on addresses, which differ from slab to
      // slab and from the call that asks for the workspace's size.
      const Rows room = p.normed_out ? Rows{} : b.intermediate(c.h, dtype);
      first.out = b.intermediate(first.n, dtype);
      done = b.gemm_with_norm(c, first);
      if (!done && room.present) c.n_out = room;
    }
    if (!done) {
      first.x = c.n_out.present ? c.n_out : r;
      b.norm(c);
    }
  }
  if (!done) {
    if (!first.out.present) first.out = b.intermediate(first.n, dtype);
    b.gemm(first);
  }
  Gemm second = base_gemm("mlp", b, first.out, p.weight_out, false);
  second.bias = vector(p.bias_out);
  second.residual = p.parallel_residual ? b.at(p.parallel_residual) : adds_r ? r : Rows{};
  second.out = b.at(out);
  b.gemm(second);
  return b.finish();
}

Plan make_plan(const NormParams& p, const TensorView& out, const PlanInput& input) {
  Builder b(input);
  NormCall c = base_norm("norm", b, p.x, p.norm);
  c.residual = b.at(p.residual);
  c.bias = vector(p.bias);
  c.add_after = b.at(p.add_after);
  c.r_out = b.at(p.residual_out);
  c.n_out = b.at(out);
  b.norm(c);
  return b.finish();
}

Plan make_plan(const ResidualAddParams& p, const TensorView& out, const PlanInput& input) {
  Builder b(input);
  ResidualCall c;
  c.op = "residual_add";
  c.m = b.m();
  c.h = p.hidden_state.size(-1);
  const Rows h = b.at(p.hidden_state);
  const Rows r = b.at(p.residual);
  const Rows a = b.at(p.attention_output);
  c.outer[0] = h;
  c.inner[0] = r;
  // post_ln and parallel differ from pre_ln only in what is divided by mp_size.
  if (p.form != ResidualForm::post_ln) c.inner_scale = 1.0f / static_cast<float>(p.mp_size);
  (p.form == ResidualForm::parallel ? c.outer[1] : c.inner[1]) = a;
  c.inner_bias[0] = vector(p.attention_bias);
  c.inner_bias[1] = vector(p.final_bias);
  c.out = b.at(out);
  b.residual(c);
  return b.finish();
}

void execute(const Plan& plan, ContextState& context) {
  const Backend& backend = *context.backend;
  for (int i = 0; i < plan.count; ++i) {
    const Step& step = plan.steps[static_cast<std::size_t>(i)];
    if (const auto* gemm = std::get_if<GemmStep>(&step)) {
      if (gemm->kernel == nullptr) continue;
      gemm->kernel->launch(gemm->gemm, reinterpret_cast<void*>(gemm->workspace), context);
    } else if (const auto* norm = std::get_if<NormStep>(&step)) {
      if (norm->call.m == 0 || norm->call.h == 0) continue;
      backend.norm(norm->call, reinterpret_cast<void*>(norm->workspace), context);
    } else if (const auto* residual = std::get_if<ResidualStep>(&step)) {
      if (residual->call.m == 0 || residual->call.h == 0) continue;
      backend.residual_add(residual->call, context);
    } else if (const auto* copy = std::get_if<CopyStep>(&step)) {
      if (copy->m == 0 || copy->h == 0) continue;
      backend.copy_rows(copy->from, copy->to, copy->m, copy->h, context);
    }
  }
}

namespace {

void describe_tuned(std::ostringstream& s, const GemmStep& step, const ContextState& context) {
  const TuneEntry& entry = *step.tuned;
  const std::string where = context.tuning->table.name() + ", line " + std::to_string(entry.line);
  if (step.tuned_refusal != nullptr) {
    s << "     not tuned, though " << where << " has it: " << step.tuned_refusal << '\n';
  } else {
    s << "     tuned by " << where << ": " << entry.us << " us instead of " << entry.shipped_us
      << '\n';
  }
}

}  // namespace

std::string describe(const Plan& plan, const ContextState& context) {
  std::ostringstream s;
  for (int i = 0; i < plan.count; ++i) {
    const Step& step = plan.steps[static_cast<std::size_t>(i)];
    s << "  " << i + 1 << ". ";
    if (const auto* gemm = std::get_if<GemmStep>(&step)) {
      s << to_string(gemm->gemm) << "\n     kernel ";
      if (gemm->kernel == nullptr) {
        s << "none: the output is empty\n";
        continue;
      }
      s << gemm->kernel->name() << " " << gemm->kernel->describe(gemm->gemm, context) << '\n';
      if (gemm->tuned != nullptr) describe_tuned(s, *gemm, context);
      for (const GemmKernel* kernel : context.backend->gemm_kernels()) {
        if (kernel == gemm->kernel) break;
        const char* reason = kernel->can_run(gemm->gemm, context);
        s << "     refused " << kernel->name() << ": "
          << (reason != nullptr ? reason : "the tune file has another") << '\n';
      }
    } else if (const auto* norm = std::get_if<NormStep>(&step)) {
      s << to_string(norm->call) << '\n';
    } else if (const auto* residual = std::get_if<ResidualStep>(&step)) {
      s << to_string(residual->call) << '\n';
    } else if (const auto* copy = std::get_if<CopyStep>(&step)) {
      s << "copy m=" << copy->m << " h=" << copy->h << " (out is x)\n";
    }
  }
  if (plan.note != nullptr) s << "  the norm is not folded: " << plan.note << '\n';
  s << "  workspace " << plan.workspace_bytes << " bytes\n";
  if (context.tuning != nullptr) {
    s << "  tune file " << context.tuning->table.name() << ", " << context.tuning->table.size()
      << " entries\n";
  }
  return s.str();
}

}  // namespace detail
}  // namespace postlude
