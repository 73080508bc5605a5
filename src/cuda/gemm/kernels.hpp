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
// The same for f32, by three TF32 products or one; in tf32_sm90.cu.
const GemmKernel& tf32_sm90_gemm_kernel();
// Tensor cores through mma.sync, for bf16 and f16; in sm80.cu.
const GemmKernel& sm80_gemm_kernel();
// The same for f32, by three TF32 products or one; in tf32.cu.
const GemmKernel& tf32_gemm_kernel();
// Runs anything; in plain.cu.
const GemmKernel& plain_gemm_kernel();

// Loads the kernels on the current device, so that no launch has to.
void load_gemv();
// This one says, too, how many clusters of [1] to [8] blocks run at once: see DeviceState.
void load_sm90_gemm(int (&clusters_at_once)[9]);
void load_tf32_sm90_gemm();
void load_sm80_gemm();
void load_tf32_gemm();
void load_plain_gemm();

// Whether the code that runs on the current device was compiled for sm_90 or later: only then does
// it wait for its predecessor where a launch is programmatic. Once the plain kernel is loaded.
bool loaded_for_sm90();

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
