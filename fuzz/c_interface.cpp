// A fuzz target: every operation of the C interface on tensors and structs that may be hostile.
//
// Whatever comes in: no crash, no access beside the memory that a tensor has, no status but those
// documented, an error's text in its documented form; and a call whose arguments are all right
// succeeds.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "bytes.hpp"
#include "postlude/postlude.h"
#include "target.hpp"
#include "tensors.hpp"

namespace postlude {
namespace fuzz {
namespace {

constexpr std::size_t most_workspace = std::size_t{64} << 20;

void expect(bool condition, const char* rule) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s (last error: %s)\n", rule, postlude_last_error());
  std::abort();
}

// Whether the call succeeded; checks what it says where it did not.
bool succeeded(postlude_status status) {
  if (status == POSTLUDE_OK) return true;
  const char* text = postlude_last_error();
  expect(text[0] == '[' && std::strstr(text, "] ") != nullptr, "an error names the op");
  if (status == POSTLUDE_INVALID_ARGUMENT) {
    expect(std::strstr(text, ": expected ") != nullptr && std::strstr(text, ", got ") != nullptr,
           "an error says what was expected and what came");
  } else {
    expect(status == POSTLUDE_UNSUPPORTED || status == POSTLUDE_OUT_OF_MEMORY,
           "a status that the CPU may give");
  }
  return false;
}

// One operation with its arguments.
class Call {
 public:
  Call(Bytes& bytes, postlude_context* context)
      : bytes_(bytes),
        context_(context),
        tensors_(bytes, bytes.pick<int>({0, 0, 2, 8, 24})),
        ignored_(bytes, 32) {
    element_ = bytes_.pick<Element>({f32, bf16, f16});
    for (int d = static_cast<int>(bytes_.integer(0, 2)); d > 0; --d) lead_.push_back(size());
    k_ = size();
    n_ = size();
  }
  ~Call() {
    for (postlude_weight* weight : weights_) postlude_weight_destroy(weight);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  void linear() {
    postlude_linear_params p;
    postlude_linear_params_init(&p, sizeof p);
    choose_activation(p);
    const std::int64_t rows = p.gated != 0 ? 2 * n_ : n_;
    p.x = activation(k_);
    weight(rows, k_, p.gated, p.layout, p.weight, p.prepared_weight);
    p.bias = tensors_.optional({rows}, vector());
    p.residual = optional_activation(n_);
    std::int64_t m = 1;
    for (std::int64_t size : lead_) m *= size;
    p.row_scale = tensors_.optional({bytes_.one_in(2) ? 1 : m}, f32);
    p.col_scale = tensors_.optional({bytes_.one_in(2) ? 1 : rows}, f32);
    if (bytes_.one_in(4)) {
      p.row_mean = tensors_.make({m}, f32);
      p.col_sum = tensors_.make({rows}, f32);
    }
    p.alpha = number(0.5f);
    Element out = element_;
    if (bytes_.one_in(4)) {
      p.out_dtype = bytes_.pick<std::int32_t>({POSTLUDE_F32, POSTLUDE_BF16, POSTLUDE_F16});
      out = p.out_dtype == POSTLUDE_F32 ? f32 : p.out_dtype == POSTLUDE_BF16 ? bf16 : f16;
    }
    run(p, activation(n_, out), postlude_linear, postlude_linear_workspace_size,
        postlude_linear_explain);
  }

  void qkv() {
    postlude_qkv_params p;
    postlude_qkv_params_init(&p, sizeof p);
    p.x = activation(k_);
    p.norm = norm(k_);
    weight(n_, k_, 0, 0, p.weight, p.prepared_weight, p.norm);
    p.bias = tensors_.optional({n_}, vector());
    p.normed_out = optional_activation(k_);
    run(p, activation(n_), postlude_qkv, postlude_qkv_workspace_size, postlude_qkv_explain);
  }

  void mlp() {
    postlude_mlp_params p;
    postlude_mlp_params_init(&p, sizeof p);
    choose_activation(p);
    const std::int64_t inner = size();
    const std::int64_t rows = p.gated != 0 ? 2 * inner : inner;
    p.x = activation(k_);
    p.parallel_residual = optional_activation(n_);
    p.add_residual = bytes_.one_in(2) ? 1 : 0;
    if (p.add_residual != 0 && p.parallel_residual == nullptr) n_ = k_;
    weight(rows, k_, p.gated, p.layout, p.weight_in, p.prepared_weight_in);
    weight(n_, inner, 0, 0, p.weight_out, p.prepared_weight_out);
    p.bias_in = tensors_.optional({rows}, vector());
    p.bias_out = tensors_.optional({n_}, vector());
    p.norm = norm(k_);
    p.residual = optional_activation(k_);
    p.input_bias = tensors_.optional({k_}, vector());
    p.residual_out = optional_activation(k_);
    p.normed_out = optional_activation(k_);
    run(p, activation(n_), postlude_mlp, postlude_mlp_workspace_size, postlude_mlp_explain);
  }

  void normalize() {
    postlude_norm_params p;
    postlude_norm_params_init(&p, sizeof p);
    p.x = activation(k_);
    p.norm = norm(k_);
    p.residual = optional_activation(k_);
    p.bias = tensors_.optional({k_}, vector());
    p.add_after = optional_activation(k_);
    p.residual_out = optional_activation(k_);
    run(p, activation(k_), postlude_normalize, postlude_normalize_workspace_size,
        postlude_normalize_explain);
  }

  void residual_add() {
    postlude_residual_add_params p;
    postlude_residual_add_params_init(&p, sizeof p);
    p.form = enumerator(POSTLUDE_PARALLEL);
    p.hidden_state = activation(k_);
    p.residual = activation(k_);
    if (p.form != POSTLUDE_POST_LN) {
      p.attention_output = optional_activation(k_);
      p.attention_bias = tensors_.optional({k_}, vector());
    }
    p.final_bias = tensors_.optional({k_}, vector());
    p.mp_size = bytes_.integer(1, 8);
    if (spoiled()) p.mp_size = bytes_.pick<std::int64_t>({0, -1, std::int64_t{1} << 62});
    run(p, activation(k_), postlude_residual_add, postlude_residual_add_workspace_size,
        postlude_residual_add_explain);
  }

  // A weight alone: what it says of itself, and the matrix back.
  void weights() {
    const postlude_tensor* plain = nullptr;
    const postlude_weight* prepared = nullptr;
    weight(n_, k_, static_cast<std::int32_t>(bytes_.integer(0, 1)), enumerator(POSTLUDE_UP_GATE),
           plain, prepared);
    if (prepared == nullptr) return;
    postlude_weight_info info;
    std::memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    expect(postlude_weight_get_info(prepared, &info) == POSTLUDE_OK, "a weight has information");
    postlude_tensor scales;
    if (succeeded(postlude_weight_get_scales(prepared, &scales))) {
      expect(info.quantized != 0, "scales belong to a quantised weight");
    }
    const Element element = info.quantized != 0 ? i8 : element_;
    const postlude_tensor* out = tensors_.make({info.out_features, info.in_features}, element);
    const bool done = succeeded(postlude_weight_unpack(prepared, out, context_));
    if (right() && !info.quantized) expect(done, "a packed weight is unpacked");
  }

 private:
  // Mostly small; 0 as well.
  std::int64_t size() {
    return bytes_.one_in(8) ? 0 : bytes_.integer(1, 70) % (lead_.empty() ? 70 : 9) + 1;
  }
  Element vector() { return bytes_.one_in(3) ? f32 : element_; }
  bool right() const {
    return !spoiled_ && tensors_.as_asked() && tensors_.in_memory() && ignored_.as_asked();
  }
  bool spoiled() {
    const bool now = bytes_.one_in(32);
    spoiled_ = spoiled_ || now;
    return now;
  }
  std::int32_t enumerator(std::int32_t last) {
    if (!spoiled()) return static_cast<std::int32_t>(bytes_.integer(0, last));
    return bytes_.pick<std::int32_t>({-1, last + 1, 256, std::numeric_limits<std::int32_t>::max(),
                                      std::numeric_limits<std::int32_t>::min()});
  }
  float number(float usual) {
    if (!bytes_.one_in(8)) return usual;
    return bytes_.pick<float>({0.0f, -1.0f, 1e30f, std::nanf(""), INFINITY, -INFINITY});
  }

  const postlude_tensor* activation(std::int64_t columns, Element element) {
    std::vector<std::int64_t> shape = lead_;
    shape.push_back(columns);
    return tensors_.make(shape, element);
  }
  const postlude_tensor* activation(std::int64_t columns) { return activation(columns, element_); }
  const postlude_tensor* optional_activation(std::int64_t columns) {
    return bytes_.one_in(3) ? activation(columns) : nullptr;
  }

  template <class Params>
  void choose_activation(Params& p) {
    p.activation = enumerator(POSTLUDE_RELU2);
    p.gated = static_cast<std::int32_t>(bytes_.integer(0, 1));
    p.layout = enumerator(POSTLUDE_UP_GATE);
    if (p.gated != 0 && bytes_.one_in(4)) p.clamp = 0.75f;
    if (spoiled()) p.clamp = bytes_.pick<float>({-1.0f, 1.0f, std::nanf(""), INFINITY});
  }

  const postlude_norm* norm(std::int64_t width) {
    if (bytes_.one_in(3)) return nullptr;
    postlude_norm_init(&norm_, sizeof norm_);
    norm_.kind = enumerator(POSTLUDE_RMS_NORM);
    // Without a kind the rest of a norm is not looked at, and may be anything.
    Tensors& tensors = norm_.kind == POSTLUDE_NORM_NONE ? ignored_ : tensors_;
    norm_.weight = tensors.optional({width}, vector());
    if (norm_.kind == POSTLUDE_LAYER_NORM) norm_.bias = tensors_.optional({width}, vector());
    norm_.eps = 1e-5f;
    norm_.weight_offset = number(1.0f);
    if (spoiled()) norm_.eps = bytes_.pick<float>({-1.0f, std::nanf(""), INFINITY});
    return &norm_;
  }

  // A tensor or a prepared weight; neither, where preparing it failed.
  void weight(std::int64_t rows, std::int64_t columns, std::int32_t gated, std::int32_t layout,
              const postlude_tensor*& plain, const postlude_weight*& prepared,
              const postlude_norm* norm = nullptr) {
    const bool borrowed = bytes_.one_in(6);
    const postlude_tensor* matrix =
        tensors_.make({rows, columns}, borrowed ? i8 : element_, bytes_.one_in(2));
    postlude_weight* made = nullptr;
    if (borrowed) {
      const std::int32_t group = enumerator(POSTLUDE_GROUP_K);
      std::vector<std::int64_t> shape{1};
      if (group == POSTLUDE_GROUP_K) shape = {rows, 1};
      succeeded(postlude_borrow_quantized(matrix, tensors_.make(shape, f32), group, &made));
    } else if (bytes_.one_in(3)) {
      postlude_pack_options options;
      postlude_pack_options_init(&options, sizeof options);
      options.norm = norm;
      options.gated = gated;
      options.layout = layout;
      succeeded(postlude_pack_weight(matrix, &options, context_, &made));
    } else if (bytes_.one_in(3)) {
      postlude_quantize_options options;
      postlude_quantize_options_init(&options, sizeof options);
      options.grouping = enumerator(POSTLUDE_GROUP_K);
      options.group_size = columns;
      if (spoiled()) {
        options.groups = bytes_.pick<std::int64_t>({0, -1, 7, std::int64_t{1} << 62});
        options.group_size = bytes_.pick<std::int64_t>({0, -1, 7, std::int64_t{1} << 62});
        options.bits = bytes_.pick<std::int32_t>({8, 4, 0, -8});
      }
      succeeded(postlude_quantize_weight(matrix, &options, context_, &made));
    } else {
      plain = matrix;
      return;
    }
    if (made == nullptr) {
      prepared_all_ = false;
      return;
    }
    weights_.push_back(made);
    prepared = made;
  }

  // The params in a block of their own, of their size or another; then sizes, plan and call.
  template <class Params, class Function, class Size, class Explain>
  void run(const Params& params, const postlude_tensor* out, Function function, Size workspace_size,
           Explain explain) {
    std::size_t claimed = sizeof(Params);
    if (spoiled()) {
      claimed = bytes_.pick<std::size_t>({0, 1, 8, sizeof(Params) - 8, sizeof(Params) + 24});
    }
    const std::size_t bytes = std::max(claimed, sizeof params.struct_size);
    const auto block = std::make_unique<char[]>(bytes);
    std::memcpy(block.get(), &params, std::min(bytes, sizeof(Params)));
    std::memcpy(block.get(), &claimed, sizeof claimed);
    if (claimed > sizeof(Params) && bytes_.one_in(2)) block[sizeof(Params)] = 1;
    const auto* p = reinterpret_cast<const Params*>(block.get());
    char* text = nullptr;
    expect(succeeded(explain(p, out, context_, &text)) == (text != nullptr), "a plan has a text");
    postlude_free_text(text);
    std::size_t needed = 0;
    const bool sized = succeeded(workspace_size(p, out, context_, &needed));
    if (sized && needed <= most_workspace) {
      expect(postlude_context_reserve(context_, needed) == POSTLUDE_OK, "workspace is reserved");
    }
    const bool done = succeeded(function(p, out, context_));
    if (right() && prepared_all_) expect(done, "a call whose arguments are right succeeds");
    if (!done) return;
    const bool nothing = std::find(out->shape, out->shape + out->ndim, 0) != out->shape + out->ndim;
    expect(nothing || tensors_.in_memory(), "a result is not made of what has no memory");
  }

  Bytes& bytes_;
  postlude_context* context_;
  Tensors tensors_, ignored_;
  Element element_{};
  std::vector<std::int64_t> lead_;
  std::int64_t k_ = 0, n_ = 0;
  postlude_norm norm_{};
  std::vector<postlude_weight*> weights_;
  bool spoiled_ = false;
  bool prepared_all_ = true;
};

}  // namespace
}  // namespace fuzz
}  // namespace postlude

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using postlude::fuzz::Call;
  static postlude_context* context = nullptr;  // one for all calls: so that one call's state meets
                                               // the next one's problem
  if (context == nullptr &&
      postlude_context_create(POSTLUDE_CPU, 0, nullptr, &context) != POSTLUDE_OK) {
    std::abort();
  }
  postlude::fuzz::Bytes bytes(data, size);
  void (Call::* const calls[])() = {&Call::linear,    &Call::qkv,          &Call::mlp,
                                    &Call::normalize, &Call::residual_add, &Call::weights};
  const auto chosen = static_cast<std::size_t>(bytes.integer(0, 5));
  postlude_context_set_batch_invariant(context, bytes.one_in(4) ? 1 : 0);
  Call call(bytes, context);
  (call.*calls[chosen])();
  return 0;
}
