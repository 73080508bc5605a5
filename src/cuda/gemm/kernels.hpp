// The GEMM kernels of the CUDA backend, and the loading of their code.
#pragma once

#include "backend.hpp"

namespace postlude {
namespace detail {
namespace cuda {

// Up to 4 rows, at memory speed; in gemv.cu.
const GemmKernel& gemv_kernel();
// Hopper's tensor cores fed by TMA, for bf16 and f16; in sm90.cu.
const GemmKernel& sm90_gemm_kernel();
// Tensor cores through mma.sync, for bf16 and f16; in sm80.cu.
const GemmKernel& sm80_gemm_kernel();
// Runs anything; in plain.cu.
const GemmKernel& plain_gemm_kernel();

// Loads the kernels on the current device, so that no launch has to.
void load_gemv();
void load_sm90_gemm();
void load_sm80_gemm();
void load_plain_gemm();

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
