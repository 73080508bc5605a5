// Call: see call.hpp.
#include "call.hpp"

#include <utility>

#include "names.hpp"
#include "weight.hpp"

namespace postlude {
namespace python {
namespace {

// An attribute by a name that is interned once.
nb::object attribute(nb::handle object, PyObject* name) {
  PyObject* value = PyObject_GetAttr(object.ptr(), name);
  if (value == nullptr) throw nb::python_error();
  return nb::steal(value);
}

PyObject* interned(const char* name) { return PyUnicode_InternFromString(name); }

bool truth(nb::handle object) {
  const int value = PyObject_IsTrue(object.ptr());
  if (value < 0) throw nb::python_error();
  return value != 0;
}

// Whether the view is what a new contiguous tensor of this shape would be.
bool is_contiguous(const TensorView& view, int rank, const std::int64_t* shape) {
  if (view.rank() != rank) return false;
  const TensorView made(nullptr, view.dtype(), rank, shape, nullptr);
  for (int d = 0; d < rank; ++d) {
    if (view.size(d) != shape[d] || view.stride(d) != made.stride(d)) return false;
  }
  return true;
}

}  // namespace

std::int64_t weight_rows(const WeightRef& weight) {
  if (weight.prepared()) return weight.prepared().out_features();
  return weight.plain().rank() == 2 ? weight.plain().size(0) : -1;
}

Call::Call(const char* op, nb::handle stream, const OptionArguments& options, Mode mode)
    : op_(op), stream_(stream), mode_(mode) {
  options_.batch_invariant = flag(options.batch_invariant, "batch_invariant");
  if (options.weights_static.is_valid()) {
    options_.weights_static = flag(options.weights_static, "weights_static");
    options_.allow_tf32 = flag(options.allow_tf32, "allow_tf32");
  }
}

Call::Call(const char* op, nb::handle stream, const ContextOptions& options)
    : op_(op), stream_(stream), options_(options) {}

void Call::fail(const char* argument, const std::string& expected, const std::string& got) const {
  throw std::invalid_argument("[" + std::string(op_) + "] " + argument + ": expected " + expected +
                              ", got " + got);
}

void Call::fail_type(const char* argument, const std::string& expected, nb::handle got) const {
  const std::string text =
      "[" + std::string(op_) + "] " + argument + ": expected " + expected + ", got " + kind_of(got);
  throw nb::type_error(text.c_str());
}

TensorView Call::view(nb::handle object, const char* argument, bool writable) {
  const Adapter* adapter = adapter_of(object);
  if (adapter == nullptr) {
    fail_type(argument, "a tensor (torch, NumPy or any with __dlpack__)", object);
  }
  if (adapter_ == nullptr && !adapter->framework.empty()) {
    adapter_ = adapter;
    framework_argument_ = argument;
    if (!located_) like_ = object;
  } else if (adapter != adapter_ && !adapter->framework.empty() &&
             adapter->framework != adapter_->framework) {
    fail_type(argument,
              "a tensor of " + adapter_->framework + ", as " + framework_argument_ + " is", object);
  }
  if (writable && !adapter->writable) {
    fail(argument, "a tensor that can be written",
         "one of " + adapter->framework + ", whose tensors are immutable (leave it out)");
  }
  refuse_grad(*adapter, object, argument);
  Lent lent = lend(object, *adapter, writable, {op_, argument, stream_});
  if (lent.capsule.is_valid()) capsules_.push_back(std::move(lent.capsule));
  if (!located_) {
    device_ = lent.view.device();
    like_view_ = lent.view;
  }
  located_ = true;
  return lent.view;
}

void Call::refuse_grad(const Adapter& adapter, nb::handle object, const char* argument) {
  if (adapter.grad_enabled.is_none()) return;
  if (!grad_mode_) grad_mode_ = truth(adapter.grad_enabled());
  if (!*grad_mode_) return;
  static PyObject* const requires_grad = interned("requires_grad");
  if (truth(attribute(object, requires_grad))) {
    throw std::runtime_error(
        "[" + std::string(op_) + "] " + argument +
        ": expected a tensor that needs no gradient, got one that requires grad; Postlude is for "
        "inference: call it under torch.no_grad() or torch.inference_mode(), or pass .detach()");
  }
}

TensorView Call::tensor(nb::handle object, const char* argument) {
  if (object.is_none()) fail_type(argument, "a tensor", object);
  return view(object, argument, false);
}

TensorView Call::optional(nb::handle object, const char* argument) {
  return object.is_none() ? TensorView() : view(object, argument, false);
}

WeightRef Call::weight(nb::handle object, const char* argument) {
  if (const PyWeight* prepared = as_weight(object)) {
    if (!located_) device_ = prepared->weight.device();
    located_ = true;
    return prepared->weight;
  }
  if (object.is_none()) fail_type(argument, "a tensor or a postlude.Weight", object);
  return view(object, argument, false);
}

nb::object Call::keep(nb::handle object, const char* argument) {
  if (as_weight(object) != nullptr) return nb::borrow(object);
  const Adapter* adapter = adapter_of(object);
  if (adapter == nullptr) fail_type(argument, "a tensor", object);
  return adapter->keep.is_none() ? nb::borrow(object) : adapter->keep(object);
}

TensorView Call::kept(nb::handle object, const char* argument) {
  if (object.is_none()) return TensorView();
  const nb::object alias = keep(object, argument);
  keeps_.push_back(alias);
  const std::size_t before = capsules_.size();
  const TensorView lent = view(alias, argument, false);
  if (capsules_.size() > before) {  // then that is what holds the memory
    keeps_.push_back(std::move(capsules_.back()));
    capsules_.pop_back();
  }
  return lent;
}

namespace {

// Reads LayerNorm or RMSNorm of postlude.norms; `read` makes a view of a weight or a bias.
template <class Read>
Norm read_norm(const Call& call, nb::handle object, Read&& read) {
  if (object.is_none()) return Norm();
  static PyObject* const names[] = {interned("kind"), interned("weight"), interned("bias"),
                                    interned("eps"), interned("weight_offset")};
  PyObject* kind = PyObject_GetAttr(object.ptr(), names[0]);
  if (kind == nullptr) PyErr_Clear();
  const nb::object owner = nb::steal(kind);
  const bool layer =
      kind != nullptr && nb::isinstance<nb::str>(owner) && nb::cast<std::string>(owner) == "layer";
  const bool rms = !layer && kind != nullptr && nb::isinstance<nb::str>(owner) &&
                   nb::cast<std::string>(owner) == "rms";
  if (!layer && !rms)
    call.fail_type("norm", "a postlude.LayerNorm, a postlude.RMSNorm or None", object);
  const TensorView weight = read(attribute(object, names[1]), "norm.weight");
  const float eps = static_cast<float>(call.number(attribute(object, names[3]), "norm.eps"));
  if (layer) return Norm::layer(weight, read(attribute(object, names[2]), "norm.bias"), eps);
  const double offset = call.number(attribute(object, names[4]), "norm.weight_offset");
  return Norm::rms(weight, eps, static_cast<float>(offset));
}

}  // namespace

Norm Call::norm(nb::handle object) {
  return read_norm(*this, object, [this](const nb::object& value, const char* argument) {
    return optional(value, argument);
  });
}

Norm Call::kept_norm(nb::handle object) {
  return read_norm(*this, object, [this](const nb::object& value, const char* argument) {
    return kept(value, argument);
  });
}

bool Call::flag(nb::handle object, const char* argument) const {
  if (!PyBool_Check(object.ptr())) fail_type(argument, "True or False", object);
  return object.ptr() == Py_True;
}

double Call::number(nb::handle object, const char* argument) const {
  if (!PyFloat_Check(object.ptr()) && !PyNumber_Check(object.ptr()))
    fail_type(argument, "a number", object);
  const double value = PyFloat_AsDouble(object.ptr());
  if (value == -1.0 && PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    fail_type(argument, "a number", object);
  }
  return value;
}

std::int64_t Call::integer(nb::handle object, const char* argument) const {
  const nb::object index =
      nb::steal(PyIndex_Check(object.ptr()) ? PyNumber_Index(object.ptr()) : nullptr);
  if (!index.is_valid() || PyBool_Check(object.ptr())) {
    PyErr_Clear();
    fail_type(argument, "an int", object);
  }
  const long long value = PyLong_AsLongLong(index.ptr());
  if (value == -1 && PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    fail(argument, "an int of 64 bits", nb::cast<std::string>(nb::repr(object)));
  }
  return value;
}

std::string Call::text(nb::handle object, const char* argument) const {
  if (!PyUnicode_Check(object.ptr())) fail_type(argument, "a str", object);
  return nb::cast<std::string>(object);
}

Activation Call::activation(nb::handle object) const {
  if (object.is_none()) return Activation::none;
  return activation_of(op_, text(object, "activation"));
}

GateLayout Call::layout(nb::handle object) const {
  return gate_layout_of(op_, text(object, "layout"));
}

std::optional<float> Call::clamp(nb::handle object) const {
  if (object.is_none()) return std::nullopt;
  return static_cast<float>(number(object, "clamp"));
}

void Call::locate() {
  StreamRef stream;
  if (!stream_.is_none()) {
    stream = StreamRef::from_handle(static_cast<std::uintptr_t>(integer(stream_, "stream")));
  } else if (device_.type == DeviceType::cuda && adapter_ != nullptr) {
    if (adapter_->table != nullptr) {
      void* current = nullptr;
      const auto type = static_cast<std::int32_t>(device_.type);
      if (adapter_->table->current_stream(type, device_.index, &current) != 0)
        throw nb::python_error();
      stream = StreamRef(static_cast<CUstream_st*>(current));
    } else if (!adapter_->stream.is_none()) {
      stream = StreamRef::from_handle(nb::cast<std::uintptr_t>(adapter_->stream(device_.index)));
    }
    on_framework_stream_ = !adapter_->empty.is_none();
  }
  context_ = &kept_context(device_, stream);
}

Output Call::output(nb::handle given, const char* argument, const TensorView& x,
                    std::int64_t columns) {
  if (!given.is_none()) return Output{view(given, argument, true), nb::borrow(given), false};
  if (columns < 0 || x.rank() < 1) return Output();
  std::int64_t shape[TensorView::max_rank];
  for (int d = 0; d + 1 < x.rank(); ++d) shape[d] = x.size(d);
  shape[x.rank() - 1] = columns;
  return new_output(argument, x.dtype(), x.rank(), shape);
}

Output Call::optional_output(nb::handle given, const char* argument, const TensorView& x,
                             bool wanted) {
  if (given.is_none() && !wanted) return Output();
  return output(given, argument, x, x.rank() < 1 ? -1 : x.size(-1));
}

Output Call::new_output(const char* argument, DType dtype, int rank, const std::int64_t* shape) {
  if (mode_ == Mode::explain) {
    return Output{TensorView(nullptr, dtype, rank, shape, nullptr, device_), nb::object(), false};
  }
  const bool framework_makes =
      adapter_ != nullptr && !(like_.is_valid() ? adapter_->new_like : adapter_->empty).is_none();
  if (!framework_makes) {
    if (device_.type != DeviceType::cpu) {
      fail(argument, "a tensor to write to (this framework gives no way to make one on a GPU)",
           "none");
    }
    Buffer buffer = new_buffer(dtype, rank, shape);
    return Output{buffer.view, std::move(buffer.object), true};
  }
  nb::object made;
  if (like_.is_valid() && !adapter_->empty_like.is_none() &&
      is_contiguous(like_view_, rank, shape)) {
    made = adapter_->empty_like(like_);
  } else {
    nb::object sizes = nb::steal(PyTuple_New(rank));
    for (int d = 0; d < rank; ++d) PyTuple_SetItem(sizes.ptr(), d, PyLong_FromLongLong(shape[d]));
    try {
      made = like_.is_valid()
                 ? adapter_->new_like(like_, sizes)
                 : adapter_->empty(sizes, to_string(dtype), to_string(device_).c_str());
    } catch (nb::python_error& error) {
      if (!error.matches(PyExc_TypeError)) throw;
      nb::raise_from(error, PyExc_ValueError, "[%s] %s: expected a dtype that %s has, got %s", op_,
                     argument, adapter_->framework.c_str(), to_string(dtype));
    }
  }
  const Lent lent = lend(made, *adapter_, true, {op_, argument, stream_});
  return Output{lent.view, std::move(made), false};
}

Output Call::output_for(const Adapter* adapter, DType dtype, Device device, int rank,
                        const std::int64_t* shape) {
  adapter_ = adapter;
  device_ = device;
  locate();
  return new_output("out", dtype, rank, shape);
}

nb::object Call::result(Output& output) const {
  const bool wrap = output.wrap && adapter_ != nullptr && !adapter_->wrap.is_none();
  return wrap ? adapter_->wrap(output.object) : std::move(output.object);
}

}  // namespace python
}  // namespace postlude
