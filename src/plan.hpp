// Plan: the ordered steps of one call, each with its kernel, and the workspace that they share.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include "backend.hpp"
#include "postlude/params.hpp"
#include "row_map.hpp"

namespace postlude {
namespace detail {

struct GemmStep {
  Gemm gemm;
  const GemmKernel* kernel = nullptr;
  const TuneEntry* tuned = nullptr;     // of the context's tune table, for this problem
  const char* tuned_refusal = nullptr;  // why the entry does not hold for these tensors
  std::uintptr_t workspace = 0;
};

struct NormStep {
  NormCall call;
  std::uintptr_t workspace = 0;
};

struct ResidualStep {
  ResidualCall call;
};

struct CopyStep {
  Rows from, to;
  std::int64_t m = 0;
  std::int64_t h = 0;
};

using Step = std::variant<std::monostate, NormStep, GemmStep, ResidualStep, CopyStep>;

// At most this many steps: norm, GEMM, GEMM, and a copy.
struct Plan {
  std::array<Step, 4> steps;
  int count = 0;
  std::size_t workspace_bytes = 0;
  const char* note = nullptr;  // why a fused form was not taken, for describe
};

// What planning needs beside the params: where the rows lie, which slab, and the workspace's
// address (0 to only size it).
struct PlanInput {
  const RowMap& rows;
  std::int64_t slab;
  std::uintptr_t workspace;
  const ContextState& context;
};

// Pure: depends on shapes, strides, dtypes, alignment and the context's device and options, never
// on history or timing. Throws Unsupported where no kernel runs a step. Params and out are checked.
Plan make_plan(const LinearParams& params, const TensorView& out, const PlanInput& input);
Plan make_plan(const QkvParams& params, const TensorView& out, const PlanInput& input);
Plan make_plan(const MlpParams& params, const TensorView& out, const PlanInput& input);
Plan make_plan(const NormParams& params, const TensorView& out, const PlanInput& input);
Plan make_plan(const ResidualAddParams& params, const TensorView& out, const PlanInput& input);

// Runs the steps in order on the context's stream.
void execute(const Plan& plan, ContextState& context);

// The plan as text, with each GEMM's refused kernels and reasons.
std::string describe(const Plan& plan, const ContextState& context);

}  // namespace detail
}  // namespace postlude
