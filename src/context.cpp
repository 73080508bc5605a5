// Context: see postlude/context.hpp.
#include "postlude/context.hpp"

#include <cstdint>
#include <cstdlib>

#include "backend.hpp"
#include "check.hpp"
#include "postlude/error.hpp"

namespace postlude {
inline namespace v1 {
namespace {

const detail::Backend& backend_for(Device device) {
  if (device.type == DeviceType::cpu) return *detail::cpu_backend();
  if (const detail::Backend* cuda = detail::cuda_backend()) return *cuda;
  throw Unsupported(
      "[Context] device: this build of Postlude has no CUDA backend, got " + to_string(device) +
      ". Build with -DPOSTLUDE_CUDA=ON, or reinstall the Python package where nvcc is found with "
      "CMAKE_ARGS=-DPOSTLUDE_CUDA=ON");
}

}  // namespace

Context::Context(Device device, StreamRef stream)
    : state_(std::make_unique<detail::ContextState>()) {
  const detail::Backend& backend = backend_for(device);
  state_->backend = &backend;
  state_->device = device;
  state_->stream = stream;
  state_->backend_state = backend.make_state(device);
  const char* file = std::getenv("POSTLUDE_TUNE_FILE");
  // The CPU has nothing to tune, and calls there must not fail over a file for GPUs.
  if (file != nullptr && *file != '\0' && device.type != DeviceType::cpu) {
    set_tune_table(TuneTable::read(file));
  }
}

Context::~Context() = default;
Context::Context(Context&&) noexcept = default;
Context& Context::operator=(Context&&) noexcept = default;

Device Context::device() const { return state_->device; }
StreamRef Context::stream() const { return state_->stream; }
void Context::set_stream(StreamRef stream) { state_->stream = stream; }

void Context::set_workspace(void* data, std::size_t bytes) {
  if (reinterpret_cast<std::uintptr_t>(data) % detail::workspace_alignment != 0) {
    detail::fail("Context.set_workspace", "data",
                 "an address aligned to " + std::to_string(detail::workspace_alignment) + " bytes",
                 std::to_string(reinterpret_cast<std::uintptr_t>(data)));
  }
  if (data == nullptr && bytes > 0) {
    detail::fail("Context.set_workspace", "data", "memory",
                 "a null pointer of " + std::to_string(bytes) + " bytes");
  }
  release();
  state_->workspace = data;
  state_->workspace_bytes = bytes;
}

void Context::reserve(std::size_t bytes) {
  if (bytes <= state_->workspace_bytes) return;
  release();
  state_->owned_workspace = state_->backend->allocate(bytes, state_->device);
  state_->workspace = state_->owned_workspace.get();
  state_->workspace_bytes = bytes;
}

void Context::release() {
  if (state_->owned_workspace == nullptr) return;
  // Not the stream alone: its owner may have destroyed it since the last call.
  state_->backend->synchronize(state_->device);
  state_->owned_workspace.reset();
  state_->workspace = nullptr;
  state_->workspace_bytes = 0;
}

std::size_t Context::workspace_bytes() const { return state_->workspace_bytes; }
bool Context::batch_invariant() const { return state_->batch_invariant; }
void Context::set_batch_invariant(bool value) { state_->batch_invariant = value; }
void Context::set_tune_table(const TuneTable& table) {
  state_->tuning = detail::tuning_of(table, *state_);
}
TuneTable Context::tune_table() const {
  return state_->tuning == nullptr ? TuneTable() : state_->tuning->table;
}
bool Context::weights_static() const { return state_->weights_static; }
void Context::set_weights_static(bool value) { state_->weights_static = value; }
bool Context::allow_tf32() const { return state_->allow_tf32; }
void Context::set_allow_tf32(bool value) { state_->allow_tf32 = value; }

}  // namespace v1

#if !defined(POSTLUDE_WITH_CUDA)
namespace detail {
const Backend* cuda_backend() { return nullptr; }
}  // namespace detail
#endif

}  // namespace postlude
