// The C interface of Postlude: plain C99, no exception leaves it, and programs built against an
// older version of this header keep working.
//
// Everything is as in the C++ interface (postlude/ops.hpp, weight.hpp, context.hpp), which says
// what each op computes; here is how C calls it.
//
// - Functions return a postlude_status. Where it is not POSTLUDE_OK, postlude_last_error() has the
//   text, "[op] argument: expected ..., got ...", and nothing was computed.
// - Tensors are DLPack's DLTensor under another name. The caller owns all memory.
// - A parameter struct is filled in two steps: its init function writes the defaults and the size
//   of the struct as this program knows it, then the members that matter are set. What stays NULL
//   or 0 is absent:
//
//       postlude_linear_params params;
//       postlude_linear_params_init(&params, sizeof params);
//       params.x = &x;
//       params.weight = &weight;
//       size_t bytes;
//       if (postlude_linear_workspace_size(&params, &out, context, &bytes) != POSTLUDE_OK ||
//           postlude_context_reserve(context, bytes) != POSTLUDE_OK ||
//           postlude_linear(&params, &out, context) != POSTLUDE_OK) {
//         fprintf(stderr, "%s\n", postlude_last_error());
//       }
//
// - Later versions append members to these structs, and 0 in a new member means what there was
//   before it. A library takes a shorter struct than its own, and a longer one whose unknown part
//   is 0; it refuses another.
// - Threads: a context serves one thread at a time; weights may be shared.
#ifndef POSTLUDE_POSTLUDE_H_
#define POSTLUDE_POSTLUDE_H_

#include <stddef.h>
#include <stdint.h>

#include "postlude/export.hpp"  // these two hold nothing but macros
#include "postlude/version.hpp"

#ifdef __cplusplus
extern "C" {
#endif

// Tensors.

// Where dlpack.h has come before this header, a postlude_tensor is its DLTensor. Otherwise it is a
// struct of the same layout and member names, and a DLTensor* may be cast to postlude_tensor*.
#if defined(DLPACK_DLPACK_H_)
typedef DLTensor postlude_tensor;
#else
// Where a postlude_tensor's memory is.
typedef struct postlude_tensor_device {
  int32_t device_type;  // postlude_device_type; 3, pinned host memory, counts as the CPU's
  int32_t device_id;
} postlude_tensor_device;

// What a postlude_tensor's elements are.
typedef struct postlude_tensor_dtype {
  uint8_t code;    // 0 signed integer, 2 float, 4 bfloat
  uint8_t bits;    // float: 32 or 16; bfloat: 16; integer: 8
  uint16_t lanes;  // 1
} postlude_tensor_dtype;

// A tensor, member by member a DLTensor.
typedef struct postlude_tensor {
  void* data;
  postlude_tensor_device device;
  int32_t ndim;  // at most 8
  postlude_tensor_dtype dtype;
  int64_t* shape;
  int64_t* strides;  // in elements; NULL: compact, the last dimension innermost
  uint64_t byte_offset;
} postlude_tensor;
#endif

// Constants; members of structs hold them as int32_t, whose size no compiler changes.

// Kinds of device, with DLPack's numbers.
enum postlude_device_type { POSTLUDE_CPU = 1, POSTLUDE_CUDA = 2 };

// Element types, as postlude::DType.
enum postlude_dtype {
  POSTLUDE_DTYPE_DEFAULT = 0,  // x's
  POSTLUDE_F32 = 1,
  POSTLUDE_BF16 = 2,
  POSTLUDE_F16 = 3,
  POSTLUDE_I8 = 4
};

// The activations, with the formulas of postlude::Activation.
enum postlude_activation {
  POSTLUDE_ACTIVATION_NONE = 0,
  POSTLUDE_RELU = 1,
  POSTLUDE_GELU_ERF = 2,
  POSTLUDE_GELU_TANH = 3,
  POSTLUDE_QUICK_GELU = 4,
  POSTLUDE_SILU = 5,
  POSTLUDE_RELU2 = 6
};

// The order of the halves of a gated weight, as postlude::GateLayout.
enum postlude_gate_layout { POSTLUDE_GATE_UP = 0, POSTLUDE_UP_GATE = 1 };

// Which norm; none leaves the row as it is.
enum postlude_norm_kind { POSTLUDE_NORM_NONE = 0, POSTLUDE_LAYER_NORM = 1, POSTLUDE_RMS_NORM = 2 };

// The residual forms of DeepSpeed inference, with the formulas of postlude::residual_add.
enum postlude_residual_form { POSTLUDE_PRE_LN = 0, POSTLUDE_POST_LN = 1, POSTLUDE_PARALLEL = 2 };

// How int8 scales are shared, as postlude::Grouping.
enum postlude_grouping { POSTLUDE_GROUP_ROWS = 0, POSTLUDE_GROUP_K = 1 };

// Status and errors.

// What a call came to: one of the values below.
typedef int32_t postlude_status;

// The values of a postlude_status.
enum {
  POSTLUDE_OK = 0,
  POSTLUDE_INVALID_ARGUMENT = 1,  // the caller's mistake
  POSTLUDE_UNSUPPORTED = 2,       // valid, but no kernel of this build and device runs it
  POSTLUDE_CUDA_ERROR = 3,        // a CUDA call failed: see postlude_last_cuda_error
  POSTLUDE_OUT_OF_MEMORY = 4,     // of the host
  POSTLUDE_INTERNAL_ERROR = 5     // anything else; please report it
};

// The text of the last call of this thread that failed, "" before there was one. Valid until
// another call of this thread fails.
POSTLUDE_API const char* postlude_last_error(void);
// The cudaError_t of the last call of this thread that gave POSTLUDE_CUDA_ERROR, 0 before that.
POSTLUDE_API int32_t postlude_last_cuda_error(void);
// "ok", "invalid argument" and so on; "unknown status" for any other number.
POSTLUDE_API const char* postlude_status_name(postlude_status status);

// The library.

// "0.1.0", of the library that runs; POSTLUDE_VERSION_MAJOR and so on are those of this header.
POSTLUDE_API const char* postlude_version(void);
// Version, build options, backends and architectures, one a line; for postlude_free_text.
POSTLUDE_API postlude_status postlude_show_config(char** text);
// Frees what a function of this header gave as char **; NULL is fine.
POSTLUDE_API void postlude_free_text(char* text);

// The activation of a name or an alias ("gelu", "gelu_new", "swish", ...).
POSTLUDE_API postlude_status postlude_parse_activation(const char* name, int32_t* activation);
// Its name, NULL for a number that is none.
POSTLUDE_API const char* postlude_activation_name(int32_t activation);

// Context: device, stream and workspace of the calls.

// As postlude::Context: it serves one thread at a time.
typedef struct postlude_context postlude_context;

// `stream` is a cudaStream_t of the device, NULL the legacy default one; the CPU ignores it.
POSTLUDE_API postlude_status postlude_context_create(int32_t device_type, int32_t device_id,
                                                     void* stream, postlude_context** context);
// NULL is fine. Frees the workspace that the context holds, after the stream's work.
POSTLUDE_API void postlude_context_destroy(postlude_context* context);
// The stream of the calls that follow.
POSTLUDE_API postlude_status postlude_context_set_stream(postlude_context* context, void* stream);
// The caller's memory of this device, aligned to 256 bytes, until set again.
POSTLUDE_API postlude_status postlude_context_set_workspace(postlude_context* context, void* data,
                                                            size_t bytes);
// Holds at least `bytes` of workspace of the context's own; not inside a stream capture.
POSTLUDE_API postlude_status postlude_context_reserve(postlude_context* context, size_t bytes);
// Frees what reserve holds.
POSTLUDE_API postlude_status postlude_context_release(postlude_context* context);
// See postlude::Context; by default 0, 1 and 0.
POSTLUDE_API postlude_status postlude_context_set_batch_invariant(postlude_context* context,
                                                                  int32_t value);
POSTLUDE_API postlude_status postlude_context_set_weights_static(postlude_context* context,
                                                                 int32_t value);
POSTLUDE_API postlude_status postlude_context_set_allow_tf32(postlude_context* context,
                                                             int32_t value);
// The tiles of a file of `postlude tune`: see postlude::Context::set_tune_table and
// postlude/tuning.hpp. NULL takes them off again, POSTLUDE_TUNE_FILE's too.
POSTLUDE_API postlude_status postlude_context_load_tune_file(postlude_context* context,
                                                             const char* path);

// What postlude_context_get_info tells of a context.
typedef struct postlude_context_info {
  size_t struct_size;
  int32_t device_type;
  int32_t device_id;
  void* stream;
  size_t workspace_bytes;
  int32_t batch_invariant;
  int32_t weights_static;
  size_t tune_entries;  // of its tune file; 0 without one
  int32_t allow_tf32;
} postlude_context_info;

// Fills the first struct_size bytes, a member of *info that the caller sets.
POSTLUDE_API postlude_status postlude_context_get_info(const postlude_context* context,
                                                       postlude_context_info* info);

// Norms.

// See postlude::Norm.
typedef struct postlude_norm {
  size_t struct_size;
  const postlude_tensor* weight;  // (H,), optional
  const postlude_tensor* bias;    // (H,), optional, LayerNorm only
  int32_t kind;                   // postlude_norm_kind
  float eps;
  float weight_offset;  // 1 for Gemma's RMSNorm
} postlude_norm;

// Writes the defaults: no norm, no weight and bias, eps 0.
POSTLUDE_API void postlude_norm_init(postlude_norm* norm, size_t struct_size);

// Weight: a matrix prepared once.

// As postlude::Weight: packed, quantised or borrowed; never written again.
typedef struct postlude_weight postlude_weight;

// What postlude_pack_weight is to know of the op; see postlude::PackOptions.
typedef struct postlude_pack_options {
  size_t struct_size;
  const postlude_norm* norm;  // the norm that qkv will apply to x first; optional
  int32_t gated;
  int32_t layout;  // postlude_gate_layout
} postlude_pack_options;

// How postlude_quantize_weight shares scales; see postlude::QuantizeOptions.
typedef struct postlude_quantize_options {
  size_t struct_size;
  int64_t groups;      // POSTLUDE_GROUP_ROWS: divides N; 1 by default
  int64_t group_size;  // POSTLUDE_GROUP_K: divides K
  int32_t bits;        // 8
  int32_t grouping;    // postlude_grouping
} postlude_quantize_options;

// Each of these writes the defaults.
POSTLUDE_API void postlude_pack_options_init(postlude_pack_options* options, size_t struct_size);
POSTLUDE_API void postlude_quantize_options_init(postlude_quantize_options* options,
                                                 size_t struct_size);

// Each of these makes a weight for postlude_weight_destroy. Options may be NULL: the defaults.
POSTLUDE_API postlude_status postlude_pack_weight(const postlude_tensor* weight,
                                                  const postlude_pack_options* options,
                                                  postlude_context* context,
                                                  postlude_weight** packed);
POSTLUDE_API postlude_status postlude_quantize_weight(const postlude_tensor* weight,
                                                      const postlude_quantize_options* options,
                                                      postlude_context* context,
                                                      postlude_weight** quantized);
// int8 (N, K) and f32 scales, not copied: the memory of both must outlive the weight.
POSTLUDE_API postlude_status postlude_borrow_quantized(const postlude_tensor* weight,
                                                       const postlude_tensor* scales,
                                                       int32_t grouping,
                                                       postlude_weight** borrowed);
// NULL is fine. No call may still be running with it.
POSTLUDE_API void postlude_weight_destroy(postlude_weight* weight);

// Writes the matrix as it went in to out (N, K); the int8 values of a quantised one.
POSTLUDE_API postlude_status postlude_weight_unpack(const postlude_weight* weight,
                                                    const postlude_tensor* out,
                                                    postlude_context* context);

// What postlude_weight_get_info tells of a weight.
typedef struct postlude_weight_info {
  size_t struct_size;
  int64_t out_features;  // N; both halves where gated
  int64_t in_features;   // K
  size_t bytes;          // that it owns
  int32_t dtype;         // postlude_dtype
  int32_t device_type;
  int32_t device_id;
  int32_t packed;
  int32_t quantized;
  int32_t grouping;  // postlude_grouping, where quantized
} postlude_weight_info;

// Fills the first struct_size bytes, a member of *info that the caller sets.
POSTLUDE_API postlude_status postlude_weight_get_info(const postlude_weight* weight,
                                                      postlude_weight_info* info);
// The scales of a quantised weight, which owns all that *scales points to.
POSTLUDE_API postlude_status postlude_weight_get_scales(const postlude_weight* weight,
                                                        postlude_tensor* scales);

// Ops.

// Each op has an init of its parameters, the call, the workspace that the call needs, and its plan
// as text (for postlude_free_text). Sizing and explaining look at shapes, strides, dtypes and
// alignment: the data of their tensors may be NULL. A weight is given as a tensor or as a prepared
// weight, not both.

// out = residual + alpha * act(row_scale * col_scale * (x weight^T - row_mean * col_sum) + bias);
// gated: act(gate) * up; see postlude::Epilogue.
typedef struct postlude_linear_params {
  size_t struct_size;
  const postlude_tensor* x;                // (..., K)
  const postlude_tensor* weight;           // (N, K); gated: (2 I, K)
  const postlude_weight* prepared_weight;  // instead of weight
  const postlude_tensor* bias;             // (N,), optional
  const postlude_tensor* residual;         // as out, optional
  const postlude_tensor* row_scale;        // f32 (M,) or (1,), optional
  const postlude_tensor* row_mean;         // f32 (M,), optional, with col_sum
  const postlude_tensor* col_scale;        // f32 (N,) or (1,), optional
  const postlude_tensor* col_sum;          // f32 (N,), optional, with row_mean
  int32_t activation;                      // postlude_activation
  int32_t gated;
  int32_t layout;     // postlude_gate_layout
  float clamp;        // gated only, > 0; 0: none
  float alpha;        // 1 by default
  int32_t out_dtype;  // postlude_dtype
} postlude_linear_params;

// Of linear: the parameters' defaults, the call, the bytes of workspace that it needs, its plan.
POSTLUDE_API void postlude_linear_params_init(postlude_linear_params* params, size_t struct_size);
POSTLUDE_API postlude_status postlude_linear(const postlude_linear_params* params,
                                             const postlude_tensor* out, postlude_context* context);
POSTLUDE_API postlude_status postlude_linear_workspace_size(const postlude_linear_params* params,
                                                            const postlude_tensor* out,
                                                            const postlude_context* context,
                                                            size_t* bytes);
POSTLUDE_API postlude_status postlude_linear_explain(const postlude_linear_params* params,
                                                     const postlude_tensor* out,
                                                     const postlude_context* context, char** text);

// out = norm(x) weight^T + bias.
typedef struct postlude_qkv_params {
  size_t struct_size;
  const postlude_tensor* x;                // (..., K)
  const postlude_tensor* weight;           // (N, K)
  const postlude_weight* prepared_weight;  // instead of weight
  const postlude_tensor* bias;             // (N,), optional
  const postlude_norm* norm;               // optional
  const postlude_tensor* normed_out;       // (..., K), optional output: norm(x)
} postlude_qkv_params;

// Of qkv: the parameters' defaults, the call, the bytes of workspace that it needs, its plan.
POSTLUDE_API void postlude_qkv_params_init(postlude_qkv_params* params, size_t struct_size);
POSTLUDE_API postlude_status postlude_qkv(const postlude_qkv_params* params,
                                          const postlude_tensor* out, postlude_context* context);
POSTLUDE_API postlude_status postlude_qkv_workspace_size(const postlude_qkv_params* params,
                                                         const postlude_tensor* out,
                                                         const postlude_context* context,
                                                         size_t* bytes);
POSTLUDE_API postlude_status postlude_qkv_explain(const postlude_qkv_params* params,
                                                  const postlude_tensor* out,
                                                  const postlude_context* context, char** text);

// r = x (+ residual) (+ input_bias); n = norm(r); h = act(n weight_in^T + bias_in), or act(gate) *
// up; out = h weight_out^T (+ bias_out) (+ r, or + parallel_residual).
typedef struct postlude_mlp_params {
  size_t struct_size;
  const postlude_tensor* x;                    // (..., H)
  const postlude_tensor* weight_in;            // (I, H); gated: (2 I, H)
  const postlude_weight* prepared_weight_in;   // instead of weight_in
  const postlude_tensor* weight_out;           // (N, I)
  const postlude_weight* prepared_weight_out;  // instead of weight_out
  const postlude_tensor* bias_in;              // (I,); gated: (2 I,); optional
  const postlude_tensor* bias_out;             // (N,), optional
  const postlude_norm* norm;                   // optional
  const postlude_tensor* residual;             // (..., H), optional
  const postlude_tensor* input_bias;           // (H,), optional
  const postlude_tensor* parallel_residual;    // (..., N), optional, added instead of r
  const postlude_tensor* residual_out;         // (..., H), optional output: r
  const postlude_tensor* normed_out;           // (..., H), optional output: norm(r)
  int32_t activation;                          // postlude_activation
  int32_t gated;
  int32_t layout;        // postlude_gate_layout
  float clamp;           // gated only, > 0; 0: none
  int32_t add_residual;  // 1 by default
} postlude_mlp_params;

// Of mlp: the parameters' defaults, the call, the bytes of workspace that it needs, its plan.
POSTLUDE_API void postlude_mlp_params_init(postlude_mlp_params* params, size_t struct_size);
POSTLUDE_API postlude_status postlude_mlp(const postlude_mlp_params* params,
                                          const postlude_tensor* out, postlude_context* context);
POSTLUDE_API postlude_status postlude_mlp_workspace_size(const postlude_mlp_params* params,
                                                         const postlude_tensor* out,
                                                         const postlude_context* context,
                                                         size_t* bytes);
POSTLUDE_API postlude_status postlude_mlp_explain(const postlude_mlp_params* params,
                                                  const postlude_tensor* out,
                                                  const postlude_context* context, char** text);

// r = x (+ residual) (+ bias); out = norm(r) (+ add_after).
typedef struct postlude_norm_params {
  size_t struct_size;
  const postlude_tensor* x;             // (..., H)
  const postlude_norm* norm;            // NULL: out = r (+ add_after)
  const postlude_tensor* residual;      // (..., H), optional
  const postlude_tensor* bias;          // (H,), optional
  const postlude_tensor* add_after;     // (..., H), optional
  const postlude_tensor* residual_out;  // (..., H), optional output: r
} postlude_norm_params;

// Of normalize: the parameters' defaults, the call, the bytes of workspace that it needs, its plan.
POSTLUDE_API void postlude_norm_params_init(postlude_norm_params* params, size_t struct_size);
POSTLUDE_API postlude_status postlude_normalize(const postlude_norm_params* params,
                                                const postlude_tensor* out,
                                                postlude_context* context);
POSTLUDE_API postlude_status postlude_normalize_workspace_size(const postlude_norm_params* params,
                                                               const postlude_tensor* out,
                                                               const postlude_context* context,
                                                               size_t* bytes);
POSTLUDE_API postlude_status postlude_normalize_explain(const postlude_norm_params* params,
                                                        const postlude_tensor* out,
                                                        const postlude_context* context,
                                                        char** text);

// DeepSpeed's residual sums; see postlude::residual_add.
typedef struct postlude_residual_add_params {
  size_t struct_size;
  const postlude_tensor* hidden_state;      // (..., H)
  const postlude_tensor* residual;          // (..., H)
  const postlude_tensor* attention_output;  // (..., H), optional
  const postlude_tensor* attention_bias;    // (H,), optional
  const postlude_tensor* final_bias;        // (H,), optional
  int64_t mp_size;                          // 1 by default
  int32_t form;                             // postlude_residual_form
} postlude_residual_add_params;

// Of residual_add: the parameters' defaults, the call, the bytes of workspace that it needs, its
// plan.
POSTLUDE_API void postlude_residual_add_params_init(postlude_residual_add_params* params,
                                                    size_t struct_size);
POSTLUDE_API postlude_status postlude_residual_add(const postlude_residual_add_params* params,
                                                   const postlude_tensor* out,
                                                   postlude_context* context);
POSTLUDE_API postlude_status postlude_residual_add_workspace_size(
    const postlude_residual_add_params* params, const postlude_tensor* out,
    const postlude_context* context, size_t* bytes);
POSTLUDE_API postlude_status postlude_residual_add_explain(
    const postlude_residual_add_params* params, const postlude_tensor* out,
    const postlude_context* context, char** text);

#ifdef __cplusplus
}
#endif

#endif  // POSTLUDE_POSTLUDE_H_
