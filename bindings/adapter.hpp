// Adapter: how the tensors of one Python framework are read, made and returned.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "dlpack.hpp"
#include "nanobind/nanobind.h"
#include "postlude/tensor_view.hpp"

namespace postlude {
namespace python {

namespace nb = nanobind;

// What postlude._interop.Adapter holds, read once a framework; see there for the meaning of each
// callable. Callables that a framework lacks are None. Adapters live as long as the process.
struct Adapter {
  std::string framework;
  const dlpack::ExchangeTable* table = nullptr;
  nb::object export_tensor;  // (tensor, writable, stream) -> capsule
  nb::object new_like;       // (tensor, shape) -> tensor
  nb::object empty_like;     // (tensor) -> tensor
  nb::object empty;          // (shape, dtype, device) -> tensor
  nb::object wrap;           // (DLPack object) -> tensor
  nb::object keep;           // (tensor) -> object that owns the memory
  nb::object stream;         // (device index) -> int
  nb::object grad_enabled;   // () -> bool
  bool writable = true;
};

// The adapter for objects of this type, or null where it is no tensor at all.
const Adapter* adapter_of(nb::handle tensor);

// Sets the function (type) -> postlude._interop.Adapter or None that adapter_of asks about a new
// type.
void set_adapter_factory(nb::object factory);

// The name of an object's type, for messages.
std::string kind_of(nb::handle object);

// A view, and the capsule that lends its memory where there is one.
struct Lent {
  TensorView view;
  nb::object capsule;
};

// What lending is for: the op and the argument, for messages, and the caller's stream (None or an
// int).
struct Purpose {
  const char* op;
  const char* argument;
  nb::handle stream;
};

// Lends a tensor without a copy. TypeError or ValueError where it is no tensor, or one that
// Postlude cannot use in place.
Lent lend(nb::handle tensor, const Adapter& adapter, bool writable, const Purpose& purpose);

// Fresh CPU memory as an object with __dlpack__ (and the buffer protocol), and its view.
struct Buffer {
  nb::object object;
  TensorView view;
};
Buffer new_buffer(DType dtype, int rank, const std::int64_t* shape);

// Memory of a framework's own allocator, until the end of the scope.
struct FrameworkMemory {
  struct Release {
    void operator()(dlpack::VersionedTensor* tensor) const {
      if (tensor->deleter != nullptr) tensor->deleter(tensor);
    }
  };
  TensorView view;
  // One of the two holds it.
  std::unique_ptr<dlpack::VersionedTensor, Release> managed;
  nb::object tensor;
};
// Bytes on `device`, by the table's allocator where there is one, which takes no Python; else by
// `empty`, which the adapter must have.
FrameworkMemory framework_memory(const Adapter& adapter, std::size_t bytes, Device device,
                                 const Purpose& purpose);

// An object with __dlpack__ for memory that `owner` keeps.
nb::object dlpack_object(const TensorView& view, nb::handle owner);

}  // namespace python
}  // namespace postlude
