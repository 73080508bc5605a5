// C99's view of postlude.h: it compiles alone and twice, and its structs have DLPack's layout.
#include "postlude/postlude.h"

// An array of negative size where the layout differs from DLTensor's on a 64-bit machine.
#define CHECK(name, condition) typedef char name[(condition) ? 1 : -1]

#if UINTPTR_MAX == UINT64_MAX
CHECK(device_at, offsetof(postlude_tensor, device) == 8);
CHECK(ndim_at, offsetof(postlude_tensor, ndim) == 16);
CHECK(dtype_at, offsetof(postlude_tensor, dtype) == 20);
CHECK(shape_at, offsetof(postlude_tensor, shape) == 24);
CHECK(strides_at, offsetof(postlude_tensor, strides) == 32);
CHECK(offset_at, offsetof(postlude_tensor, byte_offset) == 40);
CHECK(tensor_size, sizeof(postlude_tensor) == 48);

// The first version of every struct: members are appended, never moved.
CHECK(norm_size, sizeof(postlude_norm) == 40 && offsetof(postlude_norm, weight_offset) == 32);
CHECK(pack_size, sizeof(postlude_pack_options) == 24);
CHECK(quantize_size, sizeof(postlude_quantize_options) == 32);
CHECK(context_size, offsetof(postlude_context_info, weights_static) == 36 &&
                        offsetof(postlude_context_info, tune_entries) == 40 &&
                        offsetof(postlude_context_info, allow_tf32) == 48 &&
                        sizeof(postlude_context_info) == 56);
CHECK(weight_size, sizeof(postlude_weight_info) == 56);
CHECK(linear_size, offsetof(postlude_linear_params, activation) == 80 &&
                       offsetof(postlude_linear_params, out_dtype) == 100 &&
                       sizeof(postlude_linear_params) == 104);
CHECK(qkv_size,
      offsetof(postlude_qkv_params, normed_out) == 48 && sizeof(postlude_qkv_params) == 56);
CHECK(mlp_size, offsetof(postlude_mlp_params, activation) == 112 &&
                    offsetof(postlude_mlp_params, add_residual) == 128 &&
                    sizeof(postlude_mlp_params) == 136);
CHECK(norm_params_size, sizeof(postlude_norm_params) == 56);
CHECK(residual_size, offsetof(postlude_residual_add_params, form) == 56 &&
                         sizeof(postlude_residual_add_params) == 64);
#endif
