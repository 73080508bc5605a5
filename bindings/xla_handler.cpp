// The handlers of XLA's calls: see xla_handler.hpp.
#include "xla_handler.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "call.hpp"
#include "contexts.hpp"
#include "postlude/postlude.hpp"
#include "request.hpp"

namespace postlude {
namespace python {
namespace xla {
namespace {

// An error that XLA has made itself, to be handed back.
struct Failure {
  Error* error;
};

// Bytes up to and with a member that may have padding behind it: how XLA counts a structure.
#define POSTLUDE_SIZE_WITH(type, member) \
  (offsetof(type, member) + sizeof(std::declval<type>().member))

Error* made(const CallFrame& frame, int code, const char* message) {
  ErrorCreate request{POSTLUDE_SIZE_WITH(ErrorCreate, code), nullptr, message, code};
  return frame.api->create_error(&request);
}

void check(Error* error) {
  if (error != nullptr) throw Failure{error};
}

// Memory of XLA's own allocator, which counts it as free again from here on for what comes later in
// the stream.
class Scratch {
 public:
  Scratch(const CallFrame& frame, std::size_t bytes) : frame_(frame), bytes_(bytes) {
    if (bytes == 0) return;
    MemoryAllocate request{sizeof request, nullptr,         frame.execution,
                           all(),          their_alignment, nullptr};
    check(frame.api->allocate(&request));
    data_ = request.data;
  }
  ~Scratch() {
    if (data_ == nullptr) return;
    MemoryFree request{sizeof request, nullptr, frame_.execution, all(), data_};
    frame_.api->free(&request);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  TensorView view(Device device) const {
    if (data_ == nullptr) return TensorView();
    const std::size_t over = reinterpret_cast<std::uintptr_t>(data_) % our_alignment;
    char* begin = static_cast<char*>(data_) + (over == 0 ? 0 : our_alignment - over);
    return TensorView(begin, DType::i8, {static_cast<std::int64_t>(bytes_)}, device);
  }

 private:
  static constexpr std::size_t our_alignment = 256;   // Context::set_workspace
  static constexpr std::size_t their_alignment = 16;  // XLA refuses to promise more
  std::size_t all() const { return bytes_ + our_alignment - their_alignment; }

  const CallFrame& frame_;
  std::size_t bytes_;
  void* data_ = nullptr;
};

// An argument or a result.
struct Operand {
  std::string_view name;
  const Buffer* buffer;
  DType dtype;
};

// What a frame says.
struct Decoded {
  explicit Decoded(std::string_view op) : request(op) {}

  Request request;  // the options; no tensors yet
  std::vector<Operand> inputs, outputs;
  std::int64_t rank = -1;
  bool in_out = false;
};

std::string_view text_of(const Text& text) { return {text.data, text.size}; }

double number_of(const Scalar& scalar, std::string_view name) {
  switch (scalar.type) {
    case type_bool:
      return *static_cast<const bool*>(scalar.value) ? 1.0 : 0.0;
    case type_i64:
      return static_cast<double>(*static_cast<const std::int64_t*>(scalar.value));
    case type_f64:
      return *static_cast<const double*>(scalar.value);
    default:
      throw std::invalid_argument("[postlude.jax] " + std::string(name) +
                                  ": expected a bool, an int64 or a float64, got type " +
                                  std::to_string(scalar.type));
  }
}

DType dtype_of(int type, std::string_view op, std::string_view name) {
  if (type == type_f32) return DType::f32;
  if (type == type_bf16) return DType::bf16;
  if (type == type_f16) return DType::f16;
  throw std::invalid_argument("[" + std::string(op) + "] " + std::string(name) +
                              ": expected float32, bfloat16 or float16, got XLA's type " +
                              std::to_string(type));
}

std::vector<Operand> operands(const Buffers& buffers, std::string_view names, std::string_view op) {
  const std::vector<std::string_view> parts = split(names);
  if (static_cast<std::int64_t>(parts.size()) != buffers.count) {
    throw std::invalid_argument("[" + std::string(op) + "] expected as many buffers as names in '" +
                                std::string(names) + "', got " + std::to_string(buffers.count));
  }
  std::vector<Operand> found;
  found.reserve(parts.size());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (buffers.kinds[i] != kind_buffer) {
      throw std::invalid_argument("[" + std::string(op) + "] " + std::string(parts[i]) +
                                  ": expected a buffer");
    }
    const auto* buffer = static_cast<const Buffer*>(buffers.values[i]);
    found.push_back({parts[i], buffer, dtype_of(buffer->type, op, parts[i])});
  }
  return found;
}

Decoded decode(const CallFrame& frame, std::string_view op) {
  Decoded call(op);
  std::string_view inputs, outputs;
  for (std::int64_t i = 0; i < frame.attributes.count; ++i) {
    const std::string_view name = text_of(*frame.attributes.names[i]);
    void* value = frame.attributes.values[i];
    if (frame.attributes.kinds[i] == kind_string) {
      const std::string_view text = text_of(*static_cast<const Text*>(value));
      if (name == "inputs") {
        inputs = text;
      } else if (name == "outputs") {
        outputs = text;
      } else if (name == "stored") {
        call.in_out = text == "in_out";
      } else {
        call.request.option(name, text);
      }
    } else if (frame.attributes.kinds[i] == kind_scalar) {
      const double number = number_of(*static_cast<const Scalar*>(value), name);
      if (name == "rank") {
        call.rank = static_cast<std::int64_t>(number);
      } else {
        call.request.option(name, number);
      }
    } else {
      throw std::invalid_argument("[" + std::string(op) + "] " + std::string(name) +
                                  ": expected a text or a number");
    }
  }
  call.inputs = operands(frame.arguments, inputs, op);
  call.outputs = operands(frame.results, outputs, op);
  return call;
}

// The dimensions that vmap has put ahead of the others.
class Batch {
 public:
  Batch(const Decoded& call, Device device) : call_(call), device_(device) {
    levels_ = static_cast<int>(call.inputs.at(0).buffer->rank - call.rank);
    const Buffer& out = *call.outputs.at(0).buffer;
    sizes_.assign(out.shape, out.shape + levels_);
    for (const std::int64_t size : sizes_) count_ *= size;
  }

  // How often the op must run: for each mapped element where a weight or a vector is mapped too;
  // otherwise the mapped dimensions are more leading ones of the activations.
  std::int64_t runs() const {
    for (const Operand& input : call_.inputs) {
      if ((is_matrix(input.name) || is_vector(input.name)) && mapped(input)) return count_;
    }
    return 1;
  }

  // The op's call for one mapped element, or for all of them.
  Request one(std::int64_t run) const {
    Request request = call_.request;
    for (const auto* operands : {&call_.inputs, &call_.outputs}) {
      for (const Operand& operand : *operands) {
        request.tensor(operand.name, view(operand, levels_, offset(operand, run)));
      }
    }
    return request;
  }
  Request all() const {
    Request request = call_.request;
    for (const auto* operands : {&call_.inputs, &call_.outputs}) {
      for (const Operand& operand : *operands) {
        const bool parameter = is_matrix(operand.name) || is_vector(operand.name);
        request.tensor(operand.name, view(operand, parameter ? levels_ : 0, 0));
      }
    }
    return request;
  }

 private:
  bool mapped(const Operand& operand) const {
    return std::any_of(operand.buffer->shape, operand.buffer->shape + levels_,
                       [](std::int64_t size) { return size != 1; });
  }

  // Elements ahead of the part of the operand that belongs to this run.
  std::int64_t offset(const Operand& operand, std::int64_t run) const {
    const Buffer& buffer = *operand.buffer;
    std::int64_t stride = 1, elements = 0;
    for (auto d = static_cast<int>(buffer.rank) - 1; d >= 0; --d) {
      if (d < levels_) {
        const std::int64_t index = run % sizes_[static_cast<std::size_t>(d)];
        run /= sizes_[static_cast<std::size_t>(d)];
        if (buffer.shape[d] != 1) elements += index * stride;
      }
      stride *= buffer.shape[d];
    }
    return elements;
  }

  // The operand from dimension `first` on. A leading dimension of size 1 that is mapped elsewhere
  // is read over and over.
  TensorView view(const Operand& operand, int first, std::int64_t ahead) const {
    const Buffer& buffer = *operand.buffer;
    const int rank = static_cast<int>(buffer.rank) - first;
    if (rank > TensorView::max_rank) {
      throw std::invalid_argument("[postlude.jax] " + std::string(operand.name) +
                                  ": expected at most 8 dimensions, got " + std::to_string(rank));
    }
    std::array<std::int64_t, TensorView::max_rank> shape{}, strides{};
    std::int64_t stride = 1;
    for (int d = rank - 1; d >= 0; --d) {
      const auto i = static_cast<std::size_t>(d);
      shape[i] = buffer.shape[first + d];
      strides[i] = stride;
      stride *= shape[i];
      if (first + d < levels_ && shape[i] == 1) {
        shape[i] = sizes_[static_cast<std::size_t>(first + d)];
        strides[i] = 0;
      }
    }
    if (call_.in_out && rank == 2 && is_matrix(operand.name)) {
      std::swap(shape[0], shape[1]);
      std::swap(strides[0], strides[1]);
    }
    const auto bytes = static_cast<std::int64_t>(size_of(operand.dtype));
    auto* data = static_cast<char*>(buffer.data);
    if (data != nullptr) data += ahead * bytes;
    return TensorView(data, operand.dtype, rank, shape.data(), strides.data(), device_);
  }

  const Decoded& call_;
  Device device_;
  int levels_;
  std::vector<std::int64_t> sizes_;
  std::int64_t count_ = 1;
};

void run(const Request& request, const CallFrame& frame, Device device, StreamRef stream) {
  ContextLease lease(kept_context(device, stream), request.context_options());
  Context& context = lease.context();
  const std::size_t bytes = request.workspace_size(context);
  if (device.type == DeviceType::cpu) {
    if (bytes > context.workspace_bytes()) context.reserve(bytes);
    request.run(context);
    return;
  }
  const Scratch scratch(frame, bytes);
  const BorrowedWorkspace borrowed(context, scratch.view(device));
  request.run(context);
}

Device device_of(const CallFrame& frame, DeviceType type) {
  if (type == DeviceType::cpu) return Device{};
  if (frame.api->size < POSTLUDE_SIZE_WITH(Api, get_device)) {
    throw Unsupported(
        "[postlude.jax] on a GPU: this jaxlib does not tell handlers their device; "
        "install a newer one");
  }
  DeviceGet request{POSTLUDE_SIZE_WITH(DeviceGet, index), nullptr, frame.execution, 0};
  check(frame.api->get_device(&request));
  return Device{type, request.index};
}

StreamRef stream_of(const CallFrame& frame, DeviceType type) {
  if (type == DeviceType::cpu) return StreamRef();
  StreamGet request{sizeof request, nullptr, frame.execution, nullptr};
  check(frame.api->get_stream(&request));
  return StreamRef(static_cast<CUstream_st*>(request.stream));
}

// XLA refuses a handler newer than itself, and with it the whole platform; old ones do not say
// their own version. No traits: XLA does not put these calls into its own CUDA graphs, for the
// workspace is theirs only while they run.
void describe(const CallFrame& frame, Metadata& metadata) {
  const int minor = frame.api == nullptr ? first_minor_version : frame.api->version.minor;
  metadata.version = {sizeof(Version), nullptr, major_version, std::min(minor, last_minor_version)};
  metadata.traits = 0;
  if (metadata.size >= sizeof(Metadata)) metadata.state_type = 0;
}

// All that is thrown here is a Failure or a std::exception.
Error* handle(CallFrame& frame, std::size_t op, DeviceType type) noexcept {
  if (frame.extensions != nullptr && frame.extensions->type == extension_metadata) {
    describe(frame, *reinterpret_cast<MetadataExtension*>(frame.extensions)->metadata);
    return nullptr;
  }
  try {
    if (frame.stage != stage_execute) throw std::runtime_error("[postlude.jax] wrong stage");
    const Decoded call = decode(frame, request_ops.at(op));
    const Device device = device_of(frame, type);
    const StreamRef stream = stream_of(frame, type);
    const Batch batch(call, device);
    const std::int64_t runs = batch.runs();
    if (runs == 1) run(batch.all(), frame, device, stream);
    for (std::int64_t i = 0; runs > 1 && i < runs; ++i) run(batch.one(i), frame, device, stream);
    return nullptr;
  } catch (const Failure& failure) {
    return failure.error;
  } catch (const std::invalid_argument& error) {
    return made(frame, code_invalid_argument, error.what());
  } catch (const Unsupported& error) {
    return made(frame, code_unimplemented, error.what());
  } catch (const std::exception& error) {
    return made(frame, code_internal, error.what());
  }
}

template <std::size_t op, DeviceType type>
Error* handler(CallFrame* frame) {
  return handle(*frame, op, type);
}

template <DeviceType type, std::size_t... ops>
constexpr std::array<Handler*, sizeof...(ops)> handlers(std::index_sequence<ops...>) {
  return {&handler<ops, type>...};
}

}  // namespace

Handler* handler_of(std::size_t op, DeviceType device) {
  constexpr auto every = std::make_index_sequence<request_ops.size()>();
  return device == DeviceType::cpu ? handlers<DeviceType::cpu>(every).at(op)
                                   : handlers<DeviceType::cuda>(every).at(op);
}

}  // namespace xla
}  // namespace python
}  // namespace postlude
