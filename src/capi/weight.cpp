// Prepared weights of the C interface.
#include <memory>
#include <utility>

#include "backend.hpp"
#include "capi/arguments.hpp"
#include "capi/status.hpp"

using namespace postlude::capi;  // NOLINT: C functions alone follow
using postlude::Grouping;
using postlude::TensorView;
using postlude::Weight;

namespace {

postlude_quantize_options quantize_defaults() {
  postlude_quantize_options defaults{};
  defaults.groups = 1;
  defaults.bits = 8;
  return defaults;
}

postlude::PackOptions options_of(const char* op, const postlude_pack_options* options) {
  postlude::PackOptions result;
  if (options == nullptr) return result;
  const auto given = read_struct({op, "options"}, options, sizeof(postlude_pack_options), {});
  result.gated = given.gated != 0;
  result.layout = enumerator({op, "layout"}, given.layout, postlude::GateLayout::up_gate);
  result.norm = norm_of(op, given.norm);
  return result;
}

postlude::QuantizeOptions options_of(const char* op, const postlude_quantize_options* options) {
  postlude::QuantizeOptions result;
  if (options == nullptr) return result;
  const auto given =
      read_struct({op, "options"}, options, sizeof(postlude_quantize_options), quantize_defaults());
  result.bits = given.bits;
  result.grouping = enumerator({op, "grouping"}, given.grouping, Grouping::k);
  result.groups = given.groups;
  result.group_size = given.group_size;
  return result;
}

// Makes a weight and gives it to the caller: *result is null wherever that fails.
template <class Make>
postlude_status make(const char* op, postlude_weight** result, const Make& weight) {
  return guarded([&] {
    present(op, "the weight to give", result) = nullptr;
    *result = handle_of(std::make_unique<Weight>(weight()).release());
  });
}

const Weight& weight_of(const char* op, const postlude_weight* weight) {
  return present(op, "weight", object_of(weight));
}

}  // namespace

void postlude_pack_options_init(postlude_pack_options* options, size_t struct_size) {
  write_defaults(options, struct_size, {});
}

void postlude_quantize_options_init(postlude_quantize_options* options, size_t struct_size) {
  write_defaults(options, struct_size, quantize_defaults());
}

postlude_status postlude_pack_weight(const postlude_tensor* weight,
                                     const postlude_pack_options* options,
                                     postlude_context* context, postlude_weight** packed) {
  const char* op = "pack_weight";
  return make(op, packed, [&] {
    return postlude::pack_weight(view_of({op, "weight"}, weight), options_of(op, options),
                                 context_of(op, context));
  });
}

postlude_status postlude_quantize_weight(const postlude_tensor* weight,
                                         const postlude_quantize_options* options,
                                         postlude_context* context, postlude_weight** quantized) {
  const char* op = "quantize_weight";
  return make(op, quantized, [&] {
    return postlude::quantize_weight(view_of({op, "weight"}, weight), options_of(op, options),
                                     context_of(op, context));
  });
}

postlude_status postlude_borrow_quantized(const postlude_tensor* weight,
                                          const postlude_tensor* scales, int32_t grouping,
                                          postlude_weight** borrowed) {
  const char* op = "borrow_quantized";
  return make(op, borrowed, [&] {
    return postlude::borrow_quantized(view_of({op, "weight"}, weight),
                                      view_of({op, "scales"}, scales),
                                      enumerator({op, "grouping"}, grouping, Grouping::k));
  });
}

void postlude_weight_destroy(postlude_weight* weight) { delete object_of(weight); }

postlude_status postlude_weight_unpack(const postlude_weight* weight, const postlude_tensor* out,
                                       postlude_context* context) {
  return guarded([&] {
    const char* op = "Weight.unpack";  // as the C++ interface's own messages have it
    weight_of(op, weight).unpack(view_of({op, "out"}, out), context_of(op, context));
  });
}

postlude_status postlude_weight_get_info(const postlude_weight* weight,
                                         postlude_weight_info* info) {
  return guarded([&] {
    const char* op = "weight_get_info";
    const Weight& w = weight_of(op, weight);
    postlude_weight_info values{};
    values.out_features = w.out_features();
    values.in_features = w.in_features();
    values.bytes = w.bytes();
    values.dtype = number_of(w.dtype());
    values.device_type = static_cast<int32_t>(w.device().type);
    values.device_id = w.device().index;
    values.packed = w.packed() ? 1 : 0;
    values.quantized = w.quantized() ? 1 : 0;
    values.grouping = w.quantized() ? static_cast<int32_t>(w.grouping()) : 0;
    write_info({op, "info"}, info, values);
  });
}

postlude_status postlude_weight_get_scales(const postlude_weight* weight, postlude_tensor* scales) {
  return guarded([&] {
    const char* op = "weight_get_scales";
    const Weight& w = weight_of(op, weight);
    if (!w.quantized()) {
      postlude::detail::fail(op, "weight", "a quantised weight",
                             std::string("one of ") + to_string(w.dtype()));
    }
    postlude_tensor& result = present(op, "scales", scales);
    postlude::to_dlpack(w.scales(), result);
    // The view is gone after this; the sizes live as long as the weight, and scales are compact.
    result.shape = const_cast<int64_t*>(w.state()->scales_shape.data());
    result.strides = nullptr;
  });
}
