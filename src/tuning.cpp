// Tune files on a device: which entry a product has, and whether a file fits: see tuning.hpp.
#include "tuning.hpp"

#include "backend.hpp"
#include "check.hpp"
#include "postlude/error.hpp"
#include "postlude/postlude.h"

namespace postlude {
namespace detail {

std::optional<TuneProblem> tune_problem(const Gemm& g) {
  if (g.batch_invariant || g.norm || g.clamp > 0.0f || g.col_scale.present) return {};
  if (g.weight.dtype != g.x.dtype || g.out.dtype != g.x.dtype) return {};
  TuneProblem p{g.x.dtype, TuneEpilogue::plain, g.m, g.n, g.k};
  const bool activation = g.activation != Activation::none;
  const bool scaled = g.row_scale.present || g.row_mean.present;
  if (g.gated + scaled + g.residual.present > 1) return {};
  if (activation && (scaled || g.residual.present)) return {};
  if (g.residual.present) {
    if (g.residual.dtype != g.x.dtype) return {};
    p.epilogue = TuneEpilogue::residual;
  } else if (scaled) {
    p.epilogue = TuneEpilogue::scaled;
  } else if (g.gated) {
    p.epilogue = TuneEpilogue::gated;
  } else if (activation) {
    p.epilogue = TuneEpilogue::activation;
  }
  return p;
}

Gemm gemm_of(const TuneProblem& p) {
  void* const nowhere = reinterpret_cast<void*>(std::uintptr_t{1} << 20);  // aligned
  Gemm g;
  g.op = "tune";
  g.m = p.m;
  g.n = p.n;
  g.k = p.k;
  g.x = Rows{nowhere, p.dtype, p.k, true};
  g.weight.data = nowhere;
  g.weight.dtype = p.dtype;
  g.weight.stride_n = p.k;
  g.weight.stride_k = 1;
  g.out = Rows{nowhere, p.dtype, p.n, true};
  g.gated = p.epilogue == TuneEpilogue::gated;
  if (g.gated || p.epilogue == TuneEpilogue::activation) g.activation = Activation::silu;
  if (p.epilogue == TuneEpilogue::residual) g.residual = g.out;
  if (p.epilogue == TuneEpilogue::scaled) g.row_scale = Vector{nowhere, DType::f32, true, false};
  return g;
}

const Tuning::Choice* Tuning::find(const Gemm& gemm) const {
  const std::optional<TuneProblem> problem = tune_problem(gemm);
  if (!problem) return nullptr;
  const auto found = choices.find(*problem);
  return found == choices.end() ? nullptr : &found->second;
}

namespace {

std::string text_of(const TuneDevice& device) {
  return device.name + " (" + device.arch + ", " + std::to_string(device.multiprocessors) +
         " multiprocessors)";
}

Tuning::Choice choice_of(const TuneEntry& entry, const std::string& name,
                         const ContextState& context) {
  const std::string where = name + ", line " + std::to_string(entry.line);
  Tuning::Choice choice;
  choice.entry = &entry;
  for (const GemmKernel* kernel : context.backend->gemm_kernels()) {
    if (entry.kernel == kernel->name()) choice.kernel = kernel;
  }
  if (choice.kernel == nullptr) {
    fail("tune_file", where, "a kernel of this build", "'" + entry.kernel + "'");
  }
  choice.tile = choice.kernel->tile_number(entry.tile);
  if (choice.tile < 0) {
    fail("tune_file", where, "a tile that " + entry.kernel + " has in this build",
         "'" + entry.tile + "'");
  }
  const Gemm gemm = gemm_of(entry.problem);
  const char* reason = choice.kernel->can_run(gemm, context);
  if (reason == nullptr) reason = choice.kernel->can_take(choice.tile, gemm, context);
  if (reason != nullptr) {
    fail("tune_file", where, "a tile that runs its problem",
         "'" + entry.tile + "' of " + entry.kernel + ": " + reason);
  }
  return choice;
}

}  // namespace

std::shared_ptr<const Tuning> tuning_of(const TuneTable& table, const ContextState& context) {
  if (!table) return nullptr;
  const TuneState& state = *table.state();
  const TuneDevice device = context.backend->tune_device(context);
  if (device.name.empty()) {
    fail("tune_file", state.name, "a Context of a GPU: no other has tiles to choose from",
         to_string(context.device));
  }
  if (state.version != postlude_version()) {
    fail("tune_file", state.name + ", line 2",
         std::string("a file of this version, ") + postlude_version() +
             ", as another's choices may have changed (tune again)",
         state.version);
  }
  const TuneDevice& of = state.device;
  if (of.name != device.name || of.arch != device.arch ||
      of.multiprocessors != device.multiprocessors) {
    fail("tune_file", state.name + ", lines 3 to 5",
         "a file of this GPU, " + text_of(device) + ", as times are others' on another",
         text_of(of));
  }
  auto tuning = std::make_shared<Tuning>();
  tuning->table = table;
  for (const TuneEntry& entry : state.entries) {
    tuning->choices.emplace(entry.problem, choice_of(entry, state.name, context));
  }
  return tuning;
}

}  // namespace detail

inline namespace v1 {

std::string tune_header(const Context& context) {
  const detail::ContextState& state = context.state();
  const detail::TuneDevice device = state.backend->tune_device(state);
  if (device.name.empty()) {
    throw Unsupported("[tune_header] context: expected one of a GPU, got " +
                      to_string(context.device()) + ", where there are no tiles to choose from");
  }
  return detail::header_text(postlude_version(), device);
}

std::vector<std::string> tune_tiles(const TuneProblem& problem, const Context& context) {
  const detail::ContextState& state = context.state();
  std::vector<std::string> result;
  const detail::Gemm gemm = detail::gemm_of(problem);
  for (const detail::GemmKernel* kernel : state.backend->gemm_kernels()) {
    if (kernel->can_run(gemm, state) != nullptr) continue;
    for (const std::string& tile : kernel->tiles(gemm, state)) {
      result.push_back(std::string("kernel=") + kernel->name() + " tile=" + tile);
    }
  }
  return result;
}

}  // namespace v1
}  // namespace postlude
