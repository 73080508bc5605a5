// Copies of rows and of matrices within a GPU's memory.
#pragma once

#include "backend.hpp"

namespace postlude {
namespace detail {
namespace cuda {

// m rows of h elements of one dtype, at any strides; on the current device.
void copy_rows(const Rows& from, const Rows& to, std::int64_t m, std::int64_t h,
               const ContextState& context);
// A matrix between any strides, same dtype and shape; on the current device. Fast where each side
// has stride 1 in one dimension.
void copy_matrix(const TensorView& from, const TensorView& to, const ContextState& context);

// Loads the kernels on the current device, so that no launch has to.
void load_copy();

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
