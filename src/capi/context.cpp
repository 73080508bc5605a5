// Contexts of the C interface.
#include <memory>

#include "capi/arguments.hpp"
#include "capi/status.hpp"

using namespace postlude::capi;  // NOLINT: C functions alone follow
using postlude::Context;
using postlude::StreamRef;
using postlude::TuneTable;

namespace {

StreamRef stream_of(void* stream) { return StreamRef(static_cast<CUstream_st*>(stream)); }

}  // namespace

postlude_status postlude_context_create(int32_t type, int32_t device_id, void* stream,
                                        postlude_context** context) {
  return guarded([&] {
    const char* op = "context_create";
    postlude_context*& result = present(op, "context", context);
    result = nullptr;
    const postlude::Device device{device_type({op, "device_type"}, type), device_id};
    result = reinterpret_cast<postlude_context*>(
        std::make_unique<Context>(device, stream_of(stream)).release());
  });
}

void postlude_context_destroy(postlude_context* context) { delete object_of(context); }

postlude_status postlude_context_set_stream(postlude_context* context, void* stream) {
  return guarded([&] { context_of("context_set_stream", context).set_stream(stream_of(stream)); });
}

postlude_status postlude_context_set_workspace(postlude_context* context, void* data,
                                               size_t bytes) {
  return guarded([&] { context_of("context_set_workspace", context).set_workspace(data, bytes); });
}

postlude_status postlude_context_reserve(postlude_context* context, size_t bytes) {
  return guarded([&] { context_of("context_reserve", context).reserve(bytes); });
}

postlude_status postlude_context_release(postlude_context* context) {
  return guarded([&] { context_of("context_release", context).release(); });
}

postlude_status postlude_context_set_batch_invariant(postlude_context* context, int32_t value) {
  return guarded(
      [&] { context_of("context_set_batch_invariant", context).set_batch_invariant(value != 0); });
}

postlude_status postlude_context_set_weights_static(postlude_context* context, int32_t value) {
  return guarded(
      [&] { context_of("context_set_weights_static", context).set_weights_static(value != 0); });
}

postlude_status postlude_context_set_allow_tf32(postlude_context* context, int32_t value) {
  return guarded([&] { context_of("context_set_allow_tf32", context).set_allow_tf32(value != 0); });
}

postlude_status postlude_context_load_tune_file(postlude_context* context, const char* path) {
  return guarded([&] {
    Context& c = context_of("context_load_tune_file", context);
    c.set_tune_table(path == nullptr ? TuneTable() : TuneTable::read(path));
  });
}

postlude_status postlude_context_get_info(const postlude_context* context,
                                          postlude_context_info* info) {
  return guarded([&] {
    const char* op = "context_get_info";
    const Context& c = context_of(op, context);
    postlude_context_info values{};
    values.device_type = static_cast<int32_t>(c.device().type);
    values.device_id = c.device().index;
    values.stream = c.stream().get();
    values.workspace_bytes = c.workspace_bytes();
    values.batch_invariant = c.batch_invariant() ? 1 : 0;
    values.weights_static = c.weights_static() ? 1 : 0;
    values.tune_entries = c.tune_table().size();
    values.allow_tf32 = c.allow_tf32() ? 1 : 0;
    write_info({op, "info"}, info, values);
  });
}
