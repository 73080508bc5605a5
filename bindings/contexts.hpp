// The Contexts that Python calls run on: one kept for each thread, device and stream, with the
// workspace it has grown.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "postlude/context.hpp"

namespace postlude {
namespace python {

// A Context and the lock that its thread holds while a call runs on it.
struct KeptContext {
  KeptContext(Device device, StreamRef stream) : context(device, stream) {}

  std::mutex mutex;
  Context context;
  std::atomic<bool> release_wanted{false};
};

// This thread's kept Context; made at first use. Throws Unsupported where the build lacks the
// device. The reference is good until the thread ends.
KeptContext& kept_context(Device device, StreamRef stream);

// The options of a Context that a call sets.
struct ContextOptions {
  bool batch_invariant = false;
  bool weights_static = true;
};

// Holds a kept Context for the duration of one call.
class ContextLease {
 public:
  ContextLease(KeptContext& kept, const ContextOptions& options);
  ~ContextLease();
  ContextLease(const ContextLease&) = delete;
  ContextLease& operator=(const ContextLease&) = delete;

  Context& context() { return kept_.context; }

 private:
  KeptContext& kept_;
  std::unique_lock<std::mutex> lock_;
};

// Frees the workspaces of all threads: at once where a Context is idle, else at the end of the call
// that runs on it.
void clear_workspaces();

}  // namespace python
}  // namespace postlude
