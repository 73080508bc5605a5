// The kept Contexts: see contexts.hpp.
#include "contexts.hpp"

#include <utility>
#include <vector>

namespace postlude {
namespace python {
namespace {

// Every thread's Contexts, for clear_workspaces. Left to the process's end on purpose: threads may
// outlive statics.
struct Registry {
  std::mutex mutex;
  std::vector<std::weak_ptr<KeptContext>> contexts;
};

Registry& registry() {
  static Registry& instance = *new Registry;
  return instance;
}

std::optional<TuneTable>& thread_tuning() {
  thread_local std::optional<TuneTable> table;
  return table;
}

}  // namespace

std::optional<TuneTable> exchange_tune_table(std::optional<TuneTable> table) {
  thread_tuning().swap(table);
  return table;
}

KeptContext& kept_context(Device device, StreamRef stream) {
  thread_local std::vector<std::shared_ptr<KeptContext>> kept;
  for (const auto& known : kept) {
    if (known->context.device() == device && known->context.stream().get() == stream.get()) {
      return *known;
    }
  }
  auto made = std::make_shared<KeptContext>(device, stream);
  kept.push_back(made);
  const std::lock_guard<std::mutex> lock(registry().mutex);
  auto& all = registry().contexts;
  for (std::size_t i = all.size(); i-- > 0;) {
    if (all[i].expired()) all.erase(all.begin() + static_cast<std::ptrdiff_t>(i));
  }
  all.push_back(made);
  return *made;
}

ContextLease::ContextLease(KeptContext& kept, const ContextOptions& options)
    : kept_(kept), lock_(kept.mutex) {
  kept_.context.set_batch_invariant(options.batch_invariant);
  kept_.context.set_weights_static(options.weights_static);
  kept_.context.set_allow_tf32(options.allow_tf32);
  if (kept_.context.device().type == DeviceType::cpu) return;
  const TuneTable& wanted = thread_tuning() ? *thread_tuning() : kept_.own_tuning;
  if (wanted.state() != kept_.tuning.state()) {
    kept_.context.set_tune_table(wanted);
    kept_.tuning = wanted;
  }
}

ContextLease::~ContextLease() {
  if (kept_.release_wanted.exchange(false)) kept_.context.release();
}

void clear_workspaces() {
  std::vector<std::shared_ptr<KeptContext>> all;
  {
    const std::lock_guard<std::mutex> lock(registry().mutex);
    for (const auto& weak : registry().contexts) {
      if (auto kept = weak.lock()) all.push_back(std::move(kept));
    }
  }
  for (const auto& kept : all) {
    kept->release_wanted = true;
    const std::unique_lock<std::mutex> lock(kept->mutex, std::try_to_lock);
    if (lock.owns_lock() && kept->release_wanted.exchange(false)) kept->context.release();
  }
}

}  // namespace python
}  // namespace postlude
