// The ops: linear, qkv, mlp, norm and residual_add, the workspace each needs, and the plan each
// would follow.
//
// Every op reads the activations and weights in its params, writes `out` (and the optional outputs
// in the params) and runs on the Context's device and stream. Accumulation and epilogue are fp32;
// each stored tensor is rounded once. A dimension of size 0 is a valid call. `out` (or
// residual_out) may be exactly x or the residual; any other overlap of an output is refused.
//
// On CUDA, products of f32 are made of three TF32 ones, which leave out at most about 2^-21 of
// each. From sm_90 on, kernels start programmatically, before the one ahead in the stream has
// ended, and wait for it themselves; POSTLUDE_PDL=0 in the environment, read when a Context is
// made, turns this off. Results are the same.
//
// Errors of every function here: std::invalid_argument for a wrong argument, with the op, the
// argument, what was expected and what came; Unsupported where no kernel runs the problem;
// CudaError where CUDA fails.
#pragma once

#include <cstddef>
#include <string>

#include "postlude/context.hpp"
#include "postlude/export.hpp"
#include "postlude/params.hpp"
#include "postlude/tensor_view.hpp"

namespace postlude {
inline namespace v1 {

// out = epilogue(x weight^T), with the formula of Epilogue. out: (..., N), or (..., I) where gated.
POSTLUDE_API void linear(const LinearParams& params, const TensorView& out, Context& context);

// out = norm(x) weight^T + bias. out: (..., N). normed_out, where given, receives norm(x) as it
// went into the product. A packed weight may hold the norm: see PackOptions.
POSTLUDE_API void qkv(const QkvParams& params, const TensorView& out, Context& context);

// r = x (+ residual) (+ input_bias);  n = norm(r);  h = act(n weight_in^T + bias_in), or act(gate)
// * up where gated; out = h weight_out^T (+ bias_out) (+ r where add_residual, or +
// parallel_residual). out: (..., N).
POSTLUDE_API void mlp(const MlpParams& params, const TensorView& out, Context& context);

// r = x (+ residual) (+ bias);  out = norm(r) (+ add_after). out: (..., H). residual_out receives
// r.
POSTLUDE_API void norm(const NormParams& params, const TensorView& out, Context& context);

// DeepSpeed's residual sums (h hidden_state, r residual, a attention_output, ba and bf the biases,
// p = mp_size), absent tensors counting as 0:
//   pre_ln:    out = (r + a + ba + bf) / p + h
//   post_ln:   out = r + h + bf
//   parallel:  out = h + a + (r + ba + bf) / p
// out: (..., H).
POSTLUDE_API void residual_add(const ResidualAddParams& params, const TensorView& out,
                               Context& context);

// Bytes of workspace that the call with these params needs; exact for this Context's device and, on
// the CPU, for the present number of OpenMP threads. Only shapes, strides, dtypes and alignment of
// the views are looked at.
POSTLUDE_API std::size_t workspace_size(const LinearParams& params, const TensorView& out,
                                        const Context& context);
POSTLUDE_API std::size_t workspace_size(const QkvParams& params, const TensorView& out,
                                        const Context& context);
POSTLUDE_API std::size_t workspace_size(const MlpParams& params, const TensorView& out,
                                        const Context& context);
POSTLUDE_API std::size_t workspace_size(const NormParams& params, const TensorView& out,
                                        const Context& context);
POSTLUDE_API std::size_t workspace_size(const ResidualAddParams& params, const TensorView& out,
                                        const Context& context);

// The plan of the call as text: each step, the kernel chosen for it and why the kernels before it
// refused.
POSTLUDE_API std::string explain(const LinearParams& params, const TensorView& out,
                                 const Context& context);
POSTLUDE_API std::string explain(const QkvParams& params, const TensorView& out,
                                 const Context& context);
POSTLUDE_API std::string explain(const MlpParams& params, const TensorView& out,
                                 const Context& context);
POSTLUDE_API std::string explain(const NormParams& params, const TensorView& out,
                                 const Context& context);
POSTLUDE_API std::string explain(const ResidualAddParams& params, const TensorView& out,
                                 const Context& context);

// Version, build options, backends, oneDNN version, instruction set, CUDA architectures, one a
// line.
POSTLUDE_API std::string show_config();

}  // namespace v1
}  // namespace postlude
