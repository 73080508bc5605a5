// The Python class Weight: a postlude::Weight, what it borrows, and the framework that it came
// from.
#pragma once

#include <vector>

#include "adapter.hpp"
#include "postlude/weight.hpp"

namespace postlude {
namespace python {

struct PyWeight {
  Weight weight;
  const Adapter* adapter;         // of the tensors that unpack() and scales give
  std::vector<nb::object> keeps;  // the memory of a borrowed weight
};

// The Weight inside a Python object, or null where it is something else.
const PyWeight* as_weight(nb::handle object);

}  // namespace python
}  // namespace postlude
