// Bindings for postlude.jax: the handlers that it registers with XLA, and the check of a call while
// JAX traces it.
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "contexts.hpp"
#include "module.hpp"
#include "nanobind/stl/pair.h"
#include "nanobind/stl/string.h"
#include "nanobind/stl/tuple.h"
#include "nanobind/stl/vector.h"
#include "request.hpp"
#include "xla_handler.hpp"

namespace postlude {
namespace python {
namespace {

// (op, XLA's name of the platform, handler)
using Target = std::tuple<std::string, std::string, nb::capsule>;

std::vector<Target> targets() {
  std::vector<Target> all;
  for (std::size_t op = 0; op < request_ops.size(); ++op) {
    for (const auto& [platform, type] :
         {std::pair("cpu", DeviceType::cpu), std::pair("CUDA", DeviceType::cuda)}) {
      nb::capsule capsule(reinterpret_cast<void*>(xla::handler_of(op, type)));
      all.emplace_back(request_ops[op], platform, std::move(capsule));
    }
  }
  return all;
}

DType dtype_of(const std::string& op, const std::string& name, const std::string& dtype) {
  for (const DType known : {DType::f32, DType::bf16, DType::f16}) {
    if (dtype == to_string(known)) return known;
  }
  throw std::invalid_argument("[" + op + "] " + name +
                              ": expected float32, bfloat16 or float16, got " + dtype);
}

// A tensor without memory.
TensorView view_of(const std::string& op, const std::string& name, const std::string& dtype,
                   const std::vector<std::int64_t>& shape) {
  if (shape.size() > TensorView::max_rank) {
    throw std::invalid_argument("[" + op + "] " + name + ": expected at most 8 dimensions, got " +
                                std::to_string(shape.size()));
  }
  return TensorView(nullptr, dtype_of(op, name, dtype), static_cast<int>(shape.size()),
                    shape.data(), nullptr);
}

using Shape = std::vector<std::int64_t>;
using Input = std::tuple<std::string, std::string, Shape>;  // name, dtype, shape

std::vector<Shape> outputs(const std::string& op, const std::vector<Input>& inputs,
                           const std::vector<std::pair<std::string, std::string>>& texts,
                           const std::vector<std::pair<std::string, double>>& numbers,
                           const std::vector<std::string>& names) {
  Request request(op);
  for (const auto& [name, dtype, shape] : inputs) {
    request.tensor(name, view_of(op, name, dtype, shape));
  }
  for (const auto& [name, text] : texts) request.option(name, text);
  for (const auto& [name, number] : numbers) request.option(name, number);
  const std::string dtype = inputs.empty() ? "float32" : std::get<1>(inputs.front());
  std::vector<Shape> shapes;
  for (const std::string& name : names) {
    shapes.push_back(request.shape_of(name));
    const Shape& shape = shapes.back();
    // Otherwise absent: the op will refuse the input that is no matrix, by name.
    if (!shape.empty() && shape.back() >= 0) {
      request.tensor(name, view_of(op, name, dtype, shape));
    }
  }
  ContextLease lease(kept_context(Device{}, StreamRef()), request.context_options());
  request.workspace_size(lease.context());
  return shapes;
}

}  // namespace

void bind_xla(nb::module_& m) {
  m.def("xla_targets", &targets, nb::sig("def xla_targets() -> list[tuple[str, str, typing.Any]]"),
        "(op, platform, capsule of the function that XLA calls) of every op and platform.");
  m.def("xla_outputs", &outputs, nb::arg("op"), nb::arg("inputs"), nb::arg("texts"),
        nb::arg("numbers"), nb::arg("outputs"),
        "The shapes of a call's outputs. `inputs` are (name, dtype, shape); ValueError for what "
        "the call itself would refuse.");
}

}  // namespace python
}  // namespace postlude
