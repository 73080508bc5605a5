// Call: turns the Python arguments of one op into views, makes its outputs, and runs it without the
// GIL.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "adapter.hpp"
#include "contexts.hpp"
#include "nanobind/nanobind.h"
#include "nanobind/stl/string.h"
#include "postlude/postlude.hpp"

namespace postlude {
namespace python {

namespace nb = nanobind;

// What a call does once its arguments are read: compute, or say how it would.
enum class Mode { run, explain };

// The arguments that become ContextOptions.
struct OptionArguments {
  nb::handle batch_invariant;
  // Of the ops that multiply; null for the others.
  nb::handle weights_static = {};
  nb::handle allow_tf32 = {};
};

// An output: its view, and the object that the caller gets for it.
struct Output {
  TensorView view;
  nb::object object;
  bool wrap = false;  // `object` is our own buffer, not yet a tensor of the caller's framework
};

// Lends a Context the memory of a view, where present, until the end of the scope.
class BorrowedWorkspace {
 public:
  BorrowedWorkspace(Context& context, const TensorView& memory) : context_(context), lent_(memory) {
    if (lent_) context.set_workspace(memory.data(), static_cast<std::size_t>(memory.numel()));
  }
  ~BorrowedWorkspace() {
    if (lent_) context_.set_workspace(nullptr, 0);
  }
  BorrowedWorkspace(const BorrowedWorkspace&) = delete;
  BorrowedWorkspace& operator=(const BorrowedWorkspace&) = delete;

 private:
  Context& context_;
  bool lent_;
};

// A result of any type, for the signatures of the module.
inline nb::any any(nb::object object) { return nb::steal<nb::any>(object.release()); }

// An argument of a module function. None gets through to our own checks, which name the op and the
// argument.
inline auto arg(const char* name) { return nb::arg(name).none(); }

// N of either kind of weight; -1 for a tensor that is no matrix.
std::int64_t weight_rows(const WeightRef& weight);

class Call {
 public:
  // `stream` is None or an int; `op` is for messages and must be a literal.
  Call(const char* op, nb::handle stream, const OptionArguments& options, Mode mode = Mode::run);
  // Where there are no options among the arguments: a bound op has read them when it was made.
  Call(const char* op, nb::handle stream, const ContextOptions& options = {});

  // Inputs: the first tensor decides the framework that the others must be of. Each throws
  // TypeError or ValueError with the op and the argument. None is refused by `tensor` and absent
  // for `optional`.
  TensorView tensor(nb::handle object, const char* argument);
  TensorView optional(nb::handle object, const char* argument);
  WeightRef weight(nb::handle object, const char* argument);
  Norm norm(nb::handle object);
  // As the functions above, and remembers what must live as long as a bound op: see `take_keeps`.
  TensorView kept(nb::handle object, const char* argument);
  Norm kept_norm(nb::handle object);
  // What keeps a weight that was referenced rather than packed.
  nb::object keep(nb::handle object, const char* argument);
  std::vector<nb::object> take_keeps() { return std::move(keeps_); }
  // Inputs that require grad are fine from here on: packing and binding copy values.
  void allow_grad() { grad_mode_ = false; }

  // Options.
  bool flag(nb::handle object, const char* argument) const;
  double number(nb::handle object, const char* argument) const;
  std::int64_t integer(nb::handle object, const char* argument) const;
  std::string text(nb::handle object, const char* argument) const;
  Activation activation(nb::handle object) const;
  GateLayout layout(nb::handle object) const;
  std::optional<float> clamp(nb::handle object) const;
  const ContextOptions& options() const { return options_; }

  // Reads the device and stream to run on off the first tensor; throws Unsupported where this build
  // lacks the device. To be called after the inputs and before the outputs.
  void locate();
  // The tensor given, or a new one like the first tensor: the leading dimensions of `x`, then
  // `columns` (absent where `columns` is negative: the op will then refuse its inputs by name).
  Output output(nb::handle given, const char* argument, const TensorView& x, std::int64_t columns);
  // As `output`, but absent where nothing is given and it is not wanted.
  Output optional_output(nb::handle given, const char* argument, const TensorView& x, bool wanted);
  // A new tensor of this adapter's framework; locates the call on `device`.
  Output output_for(const Adapter* adapter, DType dtype, Device device, int rank,
                    const std::int64_t* shape);

  // Runs op(params, out, context), or explains it and returns the text.
  template <class Params>
  nb::object finish(void (*op)(const Params&, const TensorView&, Context&), const Params& params,
                    const Output& out);
  // Runs function(context) without the GIL.
  template <class Function>
  void with_context(Function&& function);
  // The object of an output, in the caller's framework.
  nb::object result(Output& output) const;

  const Adapter* adapter() const { return adapter_; }
  [[noreturn]] void fail(const char* argument, const std::string& expected,
                         const std::string& got) const;
  [[noreturn]] void fail_type(const char* argument, const std::string& expected,
                              nb::handle got) const;

 private:
  TensorView view(nb::handle object, const char* argument, bool writable);
  void refuse_grad(const Adapter& adapter, nb::handle object, const char* argument);
  Output new_output(const char* argument, DType dtype, int rank, const std::int64_t* shape);

  const char* op_;
  nb::handle stream_;
  ContextOptions options_;
  Mode mode_ = Mode::run;
  std::optional<bool> grad_mode_;
  const Adapter* adapter_ = nullptr;
  const char* framework_argument_ = "";  // the argument that decided the framework
  nb::handle like_;                      // the first tensor, where it has a framework
  TensorView like_view_;                 // of the first tensor
  bool located_ = false;                 // whether a tensor has decided the device
  Device device_;
  KeptContext* context_ = nullptr;
  bool on_framework_stream_ = false;
  std::vector<nb::object> capsules_;
  std::vector<nb::object> keeps_;
};

template <class Params>
nb::object Call::finish(void (*op)(const Params&, const TensorView&, Context&),
                        const Params& params, const Output& out) {
  if (mode_ == Mode::explain) {
    ContextLease lease(*context_, options_);
    return nb::cast(explain(params, out.view, lease.context()));
  }
  FrameworkMemory memory;
  if (on_framework_stream_) {
    // Asked for before the lease: an allocation can run any Python code, another op among it.
    const std::size_t bytes =
        workspace_size(params, out.view, ContextLease(*context_, options_).context());
    if (bytes > 0) {
      memory = framework_memory(*adapter_, bytes, device_, {op_, "workspace", stream_});
    }
  }
  with_context([&](Context& context) {
    const BorrowedWorkspace borrowed(context, memory.view);
    if (!on_framework_stream_) {
      const std::size_t bytes = workspace_size(params, out.view, context);
      if (bytes > context.workspace_bytes()) context.reserve(bytes);
    }
    op(params, out.view, context);
  });
  return nb::none();
}

template <class Function>
void Call::with_context(Function&& function) {
  ContextLease lease(*context_, options_);
  const nb::gil_scoped_release unlocked;
  function(lease.context());
}

}  // namespace python
}  // namespace postlude
