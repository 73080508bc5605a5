// Norms and residual sums over rows, on the GPU.
#pragma once

#include <cuda_runtime_api.h>

#include "problem.hpp"

namespace postlude {
namespace detail {
namespace cuda {

// Why no kernel runs this call, or null.
const char* norm_refusal(const NormCall& call);
const char* residual_add_refusal(const ResidualCall& call);

// As Backend's functions of these names; on the current device.
void norm(const NormCall& call, cudaStream_t stream);
void residual_add(const ResidualCall& call, cudaStream_t stream);

// Loads the kernels on the current device, so that no launch has to.
void load_norm();
void load_residual_add();

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
