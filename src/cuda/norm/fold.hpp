// Folding a norm into the weight that its result is multiplied by.
#pragma once

#include "backend.hpp"

namespace postlude {
namespace detail {
namespace cuda {

// Fills state.folded, whose operand is plain and contiguous, with `norm`: allocates, and returns
// when done. Leaves a refusal there where the folded product would be less exact than the norm by
// itself.
void fold_norm(WeightState& state, const Norm& norm, ContextState& context);

// Loads the kernels on the current device.
void load_fold();

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
