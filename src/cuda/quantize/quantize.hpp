// Symmetric int8 quantisation of weights on the GPU.
#pragma once

#include <cuda_runtime_api.h>

#include "postlude/weight.hpp"

namespace postlude {
namespace detail {
namespace cuda {

// As Backend::quantize; on the current device.
void quantize(const TensorView& weight, const QuantizeOptions& options, const TensorView& q,
              const TensorView& scales, cudaStream_t stream);

// Loads the kernels on the current device, so that no launch has to.
void load_quantize();

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
