// Arguments of the C interface: see arguments.hpp.
#include "capi/arguments.hpp"

#include <cstdlib>
#include <new>
#include <stdexcept>

namespace postlude {
namespace capi {

bool all_zero(const void* bytes, std::size_t count) {
  const char* first = static_cast<const char*>(bytes);
  for (std::size_t i = 0; i < count; ++i) {
    if (first[i] != 0) return false;
  }
  return true;
}

DeviceType device_type(Argument argument, std::int32_t value) {
  if (value != POSTLUDE_CPU && value != POSTLUDE_CUDA) {
    detail::fail(argument.op, argument.name, "POSTLUDE_CPU (1) or POSTLUDE_CUDA (2)",
                 std::to_string(value));
  }
  return static_cast<DeviceType>(value);
}

// The numbers of the C interface are one more than those of DType: 0 is the default.
std::optional<DType> optional_dtype(Argument argument, std::int32_t value) {
  const auto number = enumerator(argument, value, static_cast<std::uint8_t>(POSTLUDE_I8));
  if (number == POSTLUDE_DTYPE_DEFAULT) return std::nullopt;
  return static_cast<DType>(number - 1);
}

std::int32_t number_of(DType dtype) { return static_cast<std::int32_t>(dtype) + 1; }

TensorView view_of(Argument argument, const postlude_tensor* tensor) {
  if (tensor == nullptr) return {};
  try {
    return from_dlpack(*tensor);
  } catch (const std::invalid_argument& error) {
    // "[from_dlpack] dtype: expected ..., got ..." becomes "[linear] x.dtype: expected ...".
    const std::string text = error.what();
    throw std::invalid_argument("[" + std::string(argument.op) + "] " + argument.name + "." +
                                text.substr(text.find("] ") + 2));
  }
}

Norm norm_of(const char* op, const postlude_norm* norm) {
  if (norm == nullptr) return {};
  const postlude_norm given = read_struct({op, "norm"}, norm, sizeof(postlude_norm), {});
  Norm result;
  result.kind = enumerator({op, "norm.kind"}, given.kind, NormKind::rms);
  result.weight = view_of({op, "norm.weight"}, given.weight);
  result.bias = view_of({op, "norm.bias"}, given.bias);
  result.eps = given.eps;
  result.weight_offset = given.weight_offset;
  return result;
}

WeightRef weight_of(Argument argument, const postlude_tensor* plain,
                    const postlude_weight* prepared) {
  if (plain != nullptr && prepared != nullptr) {
    detail::fail(argument.op, argument.name, "a tensor or a prepared weight", "both");
  }
  if (prepared != nullptr) return *object_of(prepared);
  return view_of(argument, plain);
}

std::optional<float> clamp_of(float clamp) {
  if (clamp == 0.0f) return std::nullopt;
  return clamp;
}

char* copy_of(const std::string& text) {
  auto* copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (copy == nullptr) throw std::bad_alloc();
  std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

}  // namespace capi
}  // namespace postlude

void postlude_norm_init(postlude_norm* norm, size_t struct_size) {
  postlude::capi::write_defaults(norm, struct_size, {});
}
