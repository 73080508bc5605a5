// The Contexts that Python calls run on: one kept for each thread, device and stream, with the
// workspace it has grown.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>

#include "postlude/context.hpp"
#include "postlude/tuning.hpp"

namespace postlude {
namespace python {

// A Context and the lock that its thread holds while a call runs on it.
struct KeptContext {
  KeptContext(Device device, StreamRef stream)
      : context(device, stream), own_tuning(context.tune_table()), tuning(own_tuning) {}

  std::mutex mutex;
  Context context;
  TuneTable own_tuning;  // that of POSTLUDE_TUNE_FILE
  TuneTable tuning;      // what the Context has now
  std::atomic<bool> release_wanted{false};
};

// This thread's kept Context; made at first use. Throws Unsupported where the build lacks the
// device. The reference is good until the thread ends.
KeptContext& kept_context(Device device, StreamRef stream);

// The options of a Context that a call sets.
struct ContextOptions {
  bool batch_invariant = false;
  bool weights_static = true;
  bool allow_tf32 = false;
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

// Sets the tune table that calls of this thread on GPUs take, an empty one for the choices that the
// library ships, and returns what was set before; absent: that of POSTLUDE_TUNE_FILE.
std::optional<TuneTable> exchange_tune_table(std::optional<TuneTable> table);

// Frees the workspaces of all threads: at once where a Context is idle, else at the end of the call
// that runs on it.
void clear_workspaces();

}  // namespace python
}  // namespace postlude
