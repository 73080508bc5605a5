// Norms and residual sums over rows, on the GPU.
#pragma once

#include "backend.hpp"

namespace postlude {
namespace detail {
namespace cuda {

// Why no kernel runs this call, or null.
const char* norm_refusal(const NormCall& call);
const char* residual_add_refusal(const ResidualCall& call);

// As Backend's functions of these names; on the current device. The bits of a row of a norm and of
// its statistics depend on its length and its values alone.
void norm(const NormCall& call, const ContextState& context);
void residual_add(const ResidualCall& call, const ContextState& context);

// Loads the kernels on the current device, so that no launch has to.
void load_norm();
void load_residual_add();

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
