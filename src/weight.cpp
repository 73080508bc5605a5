// Weight: packing, quantising, borrowing and unpacking; see postlude/weight.hpp.
#include "postlude/weight.hpp"

#include <string>

#include "backend.hpp"
#include "check.hpp"

namespace postlude {
inline namespace v1 {
namespace {

using detail::fail;
using detail::WeightState;

const WeightState& state_of(const Weight& weight) {
  if (!weight) fail("Weight", "self", "a prepared weight", "an empty one");
  return *weight.state();
}

void check_float(const char* op, const TensorView& weight) {
  if (weight.dtype() == DType::i8) {
    fail(op, "weight", "float32, bfloat16 or float16", to_string(weight.dtype()));
  }
}

// A parameter (K,) of the norm that goes with a weight (N, K).
void check_parameter(const char* op, const char* argument, const TensorView& parameter,
                     const TensorView& weight) {
  if (!parameter) return;
  const std::int64_t k = weight.size(1);
  if (parameter.rank() != 1 || parameter.size(0) != k || (k > 1 && parameter.stride(0) != 1)) {
    fail(op, argument, "contiguous shape (" + std::to_string(k) + ",)", to_string(parameter));
  }
  if (parameter.dtype() != weight.dtype() && parameter.dtype() != DType::f32) {
    const std::string same = weight.dtype() == DType::f32 ? "" : " or float32";
    fail(op, argument, to_string(weight.dtype()) + same, to_string(parameter.dtype()));
  }
  if (parameter.device() != weight.device()) {
    fail(op, argument, "a tensor on " + to_string(weight.device()), to_string(parameter));
  }
  detail::check_memory(op, argument, parameter);
}

// Strides of a plain int8 operand; scales' grouping as the state's.
TensorView operand_view(const WeightState& s) {
  const std::int64_t shape[] = {s.n, s.k};
  const std::int64_t strides[] = {s.operand.stride_n, s.operand.stride_k};
  return TensorView(s.operand.data, s.operand.dtype, 2, shape, strides, s.device);
}

void set_scales(WeightState& s, const TensorView& scales, Grouping grouping, std::int64_t group) {
  s.operand.scales = static_cast<const float*>(scales.data());
  s.operand.grouping = grouping;
  s.operand.group = group;
  s.scales_shape.assign(scales.shape(), scales.shape() + scales.rank());
}

}  // namespace

std::int64_t Weight::out_features() const { return state_of(*this).n; }
std::int64_t Weight::in_features() const { return state_of(*this).k; }
DType Weight::dtype() const { return state_of(*this).operand.dtype; }
Device Weight::device() const { return state_of(*this).device; }
bool Weight::packed() const { return state_of(*this).operand.packed != nullptr; }
bool Weight::quantized() const { return dtype() == DType::i8; }
Grouping Weight::grouping() const { return state_of(*this).operand.grouping; }
std::size_t Weight::bytes() const { return state_of(*this).bytes; }

TensorView Weight::scales() const {
  const WeightState& s = state_of(*this);
  if (s.operand.dtype != DType::i8) return {};
  return TensorView(s.operand.scales, DType::f32, static_cast<int>(s.scales_shape.size()),
                    s.scales_shape.data(), nullptr, s.device);
}

void Weight::unpack(const TensorView& out, Context& context) const {
  const WeightState& s = state_of(*this);
  const char* op = "Weight.unpack";
  detail::check_matrix(op, "out", out, s.device);
  detail::check_memory(op, "out", out);
  if (context.device() != s.device) {
    fail(op, "context", "a Context on " + to_string(s.device), to_string(context.device()));
  }
  if (out.size(0) != s.n || out.size(1) != s.k || out.dtype() != s.operand.dtype) {
    fail(op, "out",
         std::string(to_string(s.operand.dtype)) + " (" + std::to_string(s.n) + ", " +
             std::to_string(s.k) + ")",
         to_string(out));
  }
  if (out.numel() == 0) return;
  if (s.operand.packed != nullptr) {
    context.state().backend->unpack(s, out, context.state());
  } else {
    context.state().backend->copy_matrix(operand_view(s), out, context.state());
  }
}

Weight pack_weight(const TensorView& weight, const PackOptions& options, Context& context) {
  const char* op = "pack_weight";
  detail::check_matrix(op, "weight", weight, context.device());
  detail::check_memory(op, "weight", weight);
  check_float(op, weight);
  if (options.gated && weight.size(0) % 2 != 0) {
    fail(op, "weight", "an even number of rows [gate; up]", std::to_string(weight.size(0)));
  }
  if (options.norm) {
    check_parameter(op, "norm.weight", options.norm.weight, weight);
    check_parameter(op, "norm.bias", options.norm.bias, weight);
  }
  return Weight(context.state().backend->pack(weight, options, context.state()));
}

Weight quantize_weight(const TensorView& weight, const QuantizeOptions& options, Context& context) {
  const char* op = "quantize_weight";
  detail::check_matrix(op, "weight", weight, context.device());
  detail::check_memory(op, "weight", weight);
  check_float(op, weight);
  if (options.bits != 8) fail(op, "bits", "8", std::to_string(options.bits));
  const std::int64_t n = weight.size(0);
  const std::int64_t k = weight.size(1);
  const bool by_rows = options.grouping == Grouping::rows;
  const std::int64_t parts = by_rows ? options.groups : options.group_size;
  const std::int64_t whole = by_rows ? n : k;
  if (parts < 1 || whole % parts != 0) {
    fail(op, by_rows ? "groups" : "group_size",
         "a divisor of " + std::to_string(whole) + (by_rows ? " output rows" : " inputs"),
         std::to_string(parts));
  }
  const detail::Backend& backend = *context.state().backend;
  auto state = std::make_shared<WeightState>();
  const std::int64_t scale_count = by_rows ? parts : n * (k / parts);
  const auto q_bytes = static_cast<std::size_t>(n * k);
  const auto scale_bytes = static_cast<std::size_t>(scale_count) * sizeof(float);
  state->storage = {backend.allocate(q_bytes, context.device()),
                    backend.allocate(scale_bytes, context.device())};
  state->n = n;
  state->k = k;
  state->device = context.device();
  state->bytes = q_bytes + scale_bytes;
  state->operand.data = state->storage[0].get();
  state->operand.dtype = DType::i8;
  state->operand.stride_n = k > 0 ? k : 1;
  state->operand.stride_k = 1;
  const TensorView q(state->storage[0].get(), DType::i8, {n, k}, context.device());
  const TensorView scales =
      by_rows ? TensorView(state->storage[1].get(), DType::f32, {parts}, context.device())
              : TensorView(state->storage[1].get(), DType::f32, {n, k / parts}, context.device());
  set_scales(*state, scales, options.grouping, by_rows ? n / parts : parts);
  backend.quantize(weight, options, q, scales, context.state());
  return Weight(std::move(state));
}

Weight borrow_quantized(const TensorView& weight, const TensorView& scales, Grouping grouping) {
  const char* op = "borrow_quantized";
  detail::check_matrix(op, "weight", weight, weight.device());
  detail::check_memory(op, "weight", weight);
  detail::check_memory(op, "scales", scales);
  if (weight.dtype() != DType::i8) fail(op, "weight", "int8", to_string(weight.dtype()));
  if (!scales) fail(op, "scales", "a tensor", "none");
  if (scales.dtype() != DType::f32) fail(op, "scales", "float32", to_string(scales.dtype()));
  if (scales.device() != weight.device()) {
    fail(op, "scales", "a tensor on " + to_string(weight.device()), to_string(scales));
  }
  const std::int64_t n = weight.size(0);
  const std::int64_t k = weight.size(1);
  std::int64_t group = 0;
  if (grouping == Grouping::rows) {
    if (scales.rank() != 1 || scales.size(0) < 1 || n % scales.size(0) != 0 ||
        (scales.size(0) > 1 && scales.stride(0) != 1)) {
      fail(op, "scales", "contiguous shape (groups,) with groups dividing " + std::to_string(n),
           to_string(scales));
    }
    group = n / scales.size(0);
  } else {
    const bool fits = scales.rank() == 2 && scales.size(0) == n &&
                      (k == 0 || (scales.size(1) >= 1 && k % scales.size(1) == 0)) &&
                      (scales.size(1) <= 1 || scales.stride(1) == 1) &&
                      (n <= 1 || scales.stride(0) == scales.size(1));
    if (!fits) {
      fail(op, "scales",
           "contiguous shape (" + std::to_string(n) + ", groups) with groups dividing " +
               std::to_string(k),
           to_string(scales));
    }
    group = scales.size(1) > 0 ? k / scales.size(1) : 1;
  }
  auto state = std::make_shared<WeightState>();
  state->n = n;
  state->k = k;
  state->device = weight.device();
  state->operand.data = weight.data();
  state->operand.dtype = DType::i8;
  state->operand.stride_k = k <= 1 ? 1 : weight.stride(1);
  state->operand.stride_n = n <= 1 ? (state->operand.stride_k == 1 ? k : 1) : weight.stride(0);
  set_scales(*state, scales, grouping, group > 0 ? group : 1);
  return Weight(std::move(state));
}

}  // namespace v1
}  // namespace postlude
