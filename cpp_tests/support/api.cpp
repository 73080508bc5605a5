// Turns C++ parameters into those of the C interface and its statuses into exceptions: see api.hpp.
#include "support/api.hpp"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <new>
#include <stdexcept>

#include "postlude/postlude.h"

namespace postlude {
namespace test {
namespace api {
namespace {

std::atomic<std::size_t> calls{0};

void check(postlude_status status) {
  ++calls;
  const char* text = postlude_last_error();
  switch (status) {
    case POSTLUDE_OK:
      return;
    case POSTLUDE_INVALID_ARGUMENT:
      throw std::invalid_argument(text);
    case POSTLUDE_UNSUPPORTED:
      throw Unsupported(text);
    case POSTLUDE_CUDA_ERROR:
      throw CudaError(text, postlude_last_cuda_error());
    case POSTLUDE_OUT_OF_MEMORY:
      throw std::bad_alloc();
    default:
      throw std::runtime_error(text);
  }
}

// A handle of the C interface is the address of the C++ object.
postlude_context* handle(Context& context) { return reinterpret_cast<postlude_context*>(&context); }
const postlude_context* handle(const Context& context) {
  return reinterpret_cast<const postlude_context*>(&context);
}
const postlude_weight* handle(const WeightRef& weight) {
  if (!weight.prepared()) return nullptr;
  return reinterpret_cast<const postlude_weight*>(&weight.prepared());
}

std::string text_of(char* text) {
  const std::string result = text;
  postlude_free_text(text);
  return result;
}

// What the structs of one call point to.
class Memory {
 public:
  const postlude_tensor* tensor(const TensorView& view) {
    if (!view) return nullptr;
    to_dlpack(view, tensors_.emplace_back());
    return &tensors_.back();
  }
  const postlude_norm* norm(const Norm& norm) {
    if (!norm) return nullptr;
    postlude_norm_init(&norm_, sizeof norm_);
    norm_.kind = static_cast<std::int32_t>(norm.kind);
    norm_.weight = tensor(norm.weight);
    norm_.bias = tensor(norm.bias);
    norm_.eps = norm.eps;
    norm_.weight_offset = norm.weight_offset;
    return &norm_;
  }

 private:
  std::deque<postlude_tensor> tensors_;
  postlude_norm norm_;
};

postlude_linear_params to_c(const LinearParams& p, Memory& memory) {
  postlude_linear_params c;
  postlude_linear_params_init(&c, sizeof c);
  c.x = memory.tensor(p.x);
  c.weight = memory.tensor(p.weight.plain());
  c.prepared_weight = handle(p.weight);
  c.bias = memory.tensor(p.epilogue.bias);
  c.residual = memory.tensor(p.epilogue.residual);
  c.row_scale = memory.tensor(p.epilogue.row_scale);
  c.row_mean = memory.tensor(p.epilogue.row_mean);
  c.col_scale = memory.tensor(p.epilogue.col_scale);
  c.col_sum = memory.tensor(p.epilogue.col_sum);
  c.activation = static_cast<std::int32_t>(p.epilogue.activation);
  c.gated = p.epilogue.gated ? 1 : 0;
  c.layout = static_cast<std::int32_t>(p.epilogue.layout);
  c.clamp = p.epilogue.clamp.value_or(0.0f);
  c.alpha = p.epilogue.alpha;
  if (p.epilogue.out_dtype) c.out_dtype = static_cast<std::int32_t>(*p.epilogue.out_dtype) + 1;
  return c;
}

postlude_qkv_params to_c(const QkvParams& p, Memory& memory) {
  postlude_qkv_params c;
  postlude_qkv_params_init(&c, sizeof c);
  c.x = memory.tensor(p.x);
  c.weight = memory.tensor(p.weight.plain());
  c.prepared_weight = handle(p.weight);
  c.bias = memory.tensor(p.bias);
  c.norm = memory.norm(p.norm);
  c.normed_out = memory.tensor(p.normed_out);
  return c;
}

postlude_mlp_params to_c(const MlpParams& p, Memory& memory) {
  postlude_mlp_params c;
  postlude_mlp_params_init(&c, sizeof c);
  c.x = memory.tensor(p.x);
  c.weight_in = memory.tensor(p.weight_in.plain());
  c.prepared_weight_in = handle(p.weight_in);
  c.weight_out = memory.tensor(p.weight_out.plain());
  c.prepared_weight_out = handle(p.weight_out);
  c.bias_in = memory.tensor(p.bias_in);
  c.bias_out = memory.tensor(p.bias_out);
  c.norm = memory.norm(p.norm);
  c.residual = memory.tensor(p.residual);
  c.input_bias = memory.tensor(p.input_bias);
  c.parallel_residual = memory.tensor(p.parallel_residual);
  c.residual_out = memory.tensor(p.residual_out);
  c.normed_out = memory.tensor(p.normed_out);
  c.activation = static_cast<std::int32_t>(p.activation);
  c.gated = p.gated ? 1 : 0;
  c.layout = static_cast<std::int32_t>(p.layout);
  c.clamp = p.clamp.value_or(0.0f);
  c.add_residual = p.add_residual ? 1 : 0;
  return c;
}

postlude_norm_params to_c(const NormParams& p, Memory& memory) {
  postlude_norm_params c;
  postlude_norm_params_init(&c, sizeof c);
  c.x = memory.tensor(p.x);
  c.norm = memory.norm(p.norm);
  c.residual = memory.tensor(p.residual);
  c.bias = memory.tensor(p.bias);
  c.add_after = memory.tensor(p.add_after);
  c.residual_out = memory.tensor(p.residual_out);
  return c;
}

postlude_residual_add_params to_c(const ResidualAddParams& p, Memory& memory) {
  postlude_residual_add_params c;
  postlude_residual_add_params_init(&c, sizeof c);
  c.hidden_state = memory.tensor(p.hidden_state);
  c.residual = memory.tensor(p.residual);
  c.attention_output = memory.tensor(p.attention_output);
  c.attention_bias = memory.tensor(p.attention_bias);
  c.final_bias = memory.tensor(p.final_bias);
  c.mp_size = p.mp_size;
  c.form = static_cast<std::int32_t>(p.form);
  return c;
}

// The weight that a C function made.
template <class Make>
Weight made(const Make& make) {
  postlude_weight* weight = nullptr;
  check(make(&weight));
  const Weight copy = *reinterpret_cast<Weight*>(weight);
  postlude_weight_destroy(weight);
  return copy;
}

}  // namespace

bool through_c() {
  static const bool answer = [] {
    const char* value = std::getenv("POSTLUDE_TEST_API");
    return value != nullptr && std::string(value) == "c";
  }();
  return answer;
}

std::size_t calls_through_c() { return calls; }

// The three ways into one op.
#define POSTLUDE_TEST_OP(Params, op, c_op)                                                    \
  void call(const Params& params, const TensorView& out, Context& context) {                  \
    if (!through_c()) return op(params, out, context);                                        \
    Memory memory;                                                                            \
    const auto c = to_c(params, memory);                                                      \
    check(postlude_##c_op(&c, memory.tensor(out), handle(context)));                          \
  }                                                                                           \
  std::size_t workspace_size(const Params& params, const TensorView& out,                     \
                             const Context& context) {                                        \
    if (!through_c()) return postlude::workspace_size(params, out, context);                  \
    Memory memory;                                                                            \
    const auto c = to_c(params, memory);                                                      \
    std::size_t bytes = 0;                                                                    \
    check(postlude_##c_op##_workspace_size(&c, memory.tensor(out), handle(context), &bytes)); \
    return bytes;                                                                             \
  }                                                                                           \
  std::string explain(const Params& params, const TensorView& out, const Context& context) {  \
    if (!through_c()) return postlude::explain(params, out, context);                         \
    Memory memory;                                                                            \
    const auto c = to_c(params, memory);                                                      \
    char* text = nullptr;                                                                     \
    check(postlude_##c_op##_explain(&c, memory.tensor(out), handle(context), &text));         \
    return text_of(text);                                                                     \
  }
POSTLUDE_TEST_OP(LinearParams, linear, linear)
POSTLUDE_TEST_OP(QkvParams, qkv, qkv)
POSTLUDE_TEST_OP(MlpParams, mlp, mlp)
POSTLUDE_TEST_OP(NormParams, norm, normalize)
POSTLUDE_TEST_OP(ResidualAddParams, residual_add, residual_add)
#undef POSTLUDE_TEST_OP

Weight pack_weight(const TensorView& weight, const PackOptions& options, Context& context) {
  if (!through_c()) return postlude::pack_weight(weight, options, context);
  Memory memory;
  postlude_pack_options c;
  postlude_pack_options_init(&c, sizeof c);
  c.gated = options.gated ? 1 : 0;
  c.layout = static_cast<std::int32_t>(options.layout);
  c.norm = memory.norm(options.norm);
  return made([&](postlude_weight** result) {
    return postlude_pack_weight(memory.tensor(weight), &c, handle(context), result);
  });
}

Weight quantize_weight(const TensorView& weight, const QuantizeOptions& options, Context& context) {
  if (!through_c()) return postlude::quantize_weight(weight, options, context);
  Memory memory;
  postlude_quantize_options c;
  postlude_quantize_options_init(&c, sizeof c);
  c.bits = options.bits;
  c.grouping = static_cast<std::int32_t>(options.grouping);
  c.groups = options.groups;
  c.group_size = options.group_size;
  return made([&](postlude_weight** result) {
    return postlude_quantize_weight(memory.tensor(weight), &c, handle(context), result);
  });
}

Weight borrow_quantized(const TensorView& weight, const TensorView& scales, Grouping grouping) {
  if (!through_c()) return postlude::borrow_quantized(weight, scales, grouping);
  Memory memory;
  return made([&](postlude_weight** result) {
    return postlude_borrow_quantized(memory.tensor(weight), memory.tensor(scales),
                                     static_cast<std::int32_t>(grouping), result);
  });
}

void unpack(const Weight& weight, const TensorView& out, Context& context) {
  if (!through_c()) return weight.unpack(out, context);
  Memory memory;
  check(postlude_weight_unpack(reinterpret_cast<const postlude_weight*>(&weight),
                               memory.tensor(out), handle(context)));
}

}  // namespace api
}  // namespace test
}  // namespace postlude
