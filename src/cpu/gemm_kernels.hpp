// The GEMM kernels of the CPU backend.
#pragma once

#include "backend.hpp"

namespace postlude {
namespace detail {

const GemmKernel& dot_gemm();
const GemmKernel& onednn_gemm();
const GemmKernel& reference_gemm();

}  // namespace detail
}  // namespace postlude
