// Adapter: see adapter.hpp.
#include "adapter.hpp"

#include <cstdint>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <utility>
#include <vector>

#include "nanobind/ndarray.h"

namespace postlude {
namespace python {
namespace {

// Left to the process's end on purpose: the interpreter may be gone when static objects are
// destroyed.
struct Registry {
  nb::object factory;
  std::vector<std::pair<nb::object, const Adapter*>> types;
  std::vector<std::pair<nb::object, const Adapter*>> adapters;  // by postlude._interop.Adapter
};

Registry& registry() {
  static Registry& instance = *new Registry;
  return instance;
}

const dlpack::ExchangeTable* table_in(nb::handle capsule) {
  if (capsule.is_none()) return nullptr;
  const void* pointer = PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api");
  if (pointer == nullptr) {
    PyErr_Clear();
    return nullptr;
  }
  const auto* table = static_cast<const dlpack::ExchangeTable*>(pointer);
  while (table != nullptr && table->version.major > dlpack::major_version) table = table->previous;
  const bool usable = table != nullptr && table->version.major == dlpack::major_version &&
                      table->view_of_object != nullptr;
  return usable ? table : nullptr;
}

const Adapter* read_adapter(const nb::object& described) {
  for (const auto& known : registry().adapters) {
    if (known.first.is(described)) return known.second;
  }
  auto* adapter = new Adapter;
  adapter->framework = nb::cast<const char*>(described.attr("framework"));
  adapter->table = table_in(described.attr("table"));
  adapter->export_tensor = described.attr("export");
  adapter->new_like = described.attr("new_like");
  adapter->empty_like = described.attr("empty_like");
  adapter->empty = described.attr("empty");
  adapter->wrap = described.attr("wrap");
  adapter->keep = described.attr("keep");
  adapter->stream = described.attr("stream");
  adapter->grad_enabled = described.attr("grad_enabled");
  adapter->writable = nb::cast<bool>(described.attr("writable"));
  registry().adapters.emplace_back(described, adapter);
  return adapter;
}

std::string dtype_name(const dlpack::DataType& dtype) {
  static constexpr const char* kinds[] = {"int",    "uint",    "float", "handle",
                                          "bfloat", "complex", "bool"};
  const std::string kind =
      dtype.code < 7 ? kinds[dtype.code] : "dtype code " + std::to_string(dtype.code) + " of ";
  // Several lanes as DLPack writes them: float32x2.
  return (dtype.code == 6 ? kind : kind + std::to_string(dtype.bits)) +
         (dtype.lanes == 1 ? "" : "x" + std::to_string(dtype.lanes));
}

std::string prefix(const Purpose& purpose) {
  return "[" + std::string(purpose.op) + "] " + purpose.argument + ": ";
}

// The pending Python exception, said again in one line with the op and the argument.
[[noreturn]] void refused(const Purpose& purpose, nb::handle tensor, bool writable) {
  nb::python_error error;
  const std::string text = nb::str(error.value()).c_str();
  nb::raise_from(error, PyExc_ValueError,
                 "[%s] %s: expected a tensor that can be %s in place, got %s: %s", purpose.op,
                 purpose.argument, writable ? "written" : "read", kind_of(tensor).c_str(),
                 text.substr(0, text.find('\n')).c_str());
}

TensorView view_of(const dlpack::Tensor& tensor, const Purpose& purpose) {
  const auto [code, bits, lanes] = tensor.dtype;
  const bool known = lanes == 1 && ((code == 2 && (bits == 32 || bits == 16)) ||
                                    (code == 4 && bits == 16) || (code == 0 && bits == 8));
  if (!known) {
    throw std::invalid_argument(prefix(purpose) +
                                "expected float32, bfloat16, float16 or int8, got " +
                                dtype_name(tensor.dtype));
  }
  if (tensor.ndim > TensorView::max_rank) {
    throw std::invalid_argument(prefix(purpose) + "expected at most " +
                                std::to_string(TensorView::max_rank) + " dimensions, got " +
                                std::to_string(tensor.ndim));
  }
  TensorView view;
  try {
    view = from_dlpack(tensor);
  } catch (const std::invalid_argument& error) {
    const std::string text = error.what();
    throw std::invalid_argument(prefix(purpose) + text.substr(text.find("expected")));
  }
  if (view.data() == nullptr && view.numel() > 0) {
    throw std::invalid_argument(prefix(purpose) +
                                "expected a tensor with memory of its own, got a null pointer");
  }
  return view;
}

}  // namespace

std::string kind_of(nb::handle object) {
  if (object.is_none()) return "None";
  const nb::handle type = reinterpret_cast<PyObject*>(Py_TYPE(object.ptr()));
  return nb::str(type.attr("__name__")).c_str();
}

const Adapter* adapter_of(nb::handle tensor) {
  PyObject* type = reinterpret_cast<PyObject*>(Py_TYPE(tensor.ptr()));
  for (const auto& known : registry().types) {
    if (known.first.ptr() == type) return known.second;
  }
  if (!registry().factory.is_valid()) return nullptr;
  nb::object described = registry().factory(nb::handle(type));
  if (described.is_none()) return nullptr;
  const Adapter* adapter = read_adapter(described);
  registry().types.emplace_back(nb::borrow(type), adapter);
  return adapter;
}

void set_adapter_factory(nb::object factory) {
  registry().factory = std::move(factory);
  registry().types.clear();
}

Lent lend(nb::handle tensor, const Adapter& adapter, bool writable, const Purpose& purpose) {
  if (adapter.table != nullptr) {
    dlpack::Tensor view{};
    if (adapter.table->view_of_object(tensor.ptr(), &view) != 0) refused(purpose, tensor, writable);
    return Lent{view_of(view, purpose), nb::object()};
  }
  nb::object capsule = nb::borrow(tensor);
  if (!adapter.export_tensor.is_none()) {
    try {
      capsule = adapter.export_tensor(tensor, writable, purpose.stream);
    } catch (nb::python_error& error) {
      error.restore();
      refused(purpose, tensor, writable);
    }
  }
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned") != 0) {
    const auto* managed = static_cast<const dlpack::VersionedTensor*>(
        PyCapsule_GetPointer(capsule.ptr(), "dltensor_versioned"));
    if (managed->version.major != dlpack::major_version) {
      throw std::invalid_argument(prefix(purpose) + "expected DLPack 1, got version " +
                                  std::to_string(managed->version.major));
    }
    if (writable && (managed->flags & dlpack::flag_read_only) != 0) {
      throw std::invalid_argument(prefix(purpose) +
                                  "expected a writable tensor, got a read-only one");
    }
    return Lent{view_of(managed->tensor, purpose), std::move(capsule)};
  }
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor") != 0) {
    const auto* managed =
        static_cast<const dlpack::ManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
    return Lent{view_of(managed->tensor, purpose), std::move(capsule)};
  }
  throw nb::type_error((prefix(purpose) + "expected a DLPack capsule that nobody has used, got " +
                        nb::repr(capsule).c_str())
                           .c_str());
}

FrameworkMemory framework_memory(const Adapter& adapter, std::size_t bytes, Device device,
                                 const Purpose& purpose) {
  FrameworkMemory memory;
  if (adapter.table != nullptr && adapter.table->allocate != nullptr) {
    auto size = static_cast<std::int64_t>(bytes);
    dlpack::Tensor prototype{};
    prototype.device = {static_cast<std::int32_t>(device.type), device.index};
    prototype.ndim = 1;
    prototype.dtype = {0, 8, 1};
    prototype.shape = &size;
    dlpack::VersionedTensor* made = nullptr;
    const auto ignore = [](void*, const char*, const char*) {};
    if (adapter.table->allocate(&prototype, &made, nullptr, ignore) == 0) {
      memory.managed.reset(made);
      memory.view = view_of(made->tensor, purpose);
      return memory;
    }
    // `empty` will fail too, with the framework's own exception.
  }
  memory.tensor = adapter.empty(nb::make_tuple(bytes), "int8", to_string(device).c_str());
  memory.view = lend(memory.tensor, adapter, true, purpose).view;
  return memory;
}

Buffer new_buffer(DType dtype, int rank, const std::int64_t* shape) {
  constexpr std::size_t alignment = 64;
  const TensorView sizes(nullptr, dtype, rank, shape, nullptr);
  const std::size_t bytes = static_cast<std::size_t>(sizes.numel()) * size_of(dtype);
  void* data = std::aligned_alloc(alignment, (bytes / alignment + 1) * alignment);
  if (data == nullptr) throw std::bad_alloc();
  nb::capsule owner(data, [](void* pointer) noexcept { std::free(pointer); });
  const TensorView view(data, dtype, rank, shape, nullptr);
  return Buffer{dlpack_object(view, owner), view};
}

nb::object dlpack_object(const TensorView& view, nb::handle owner) {
  dlpack::Tensor tensor{};
  to_dlpack(view, tensor);
  std::size_t shape[TensorView::max_rank];
  for (int d = 0; d < view.rank(); ++d) shape[d] = static_cast<std::size_t>(view.size(d));
  const nb::dlpack::dtype dtype{tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes};
  return nb::cast(nb::ndarray<nb::array_api>(view.data(), static_cast<std::size_t>(view.rank()),
                                             shape, owner, view.strides(), dtype,
                                             tensor.device.device_type, tensor.device.device_id));
}

}  // namespace python
}  // namespace postlude
