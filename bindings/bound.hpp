// What the Python classes of bound ops share: the C++ op, and the Python objects that hold the
// memory it references.
#pragma once

#include <initializer_list>
#include <optional>
#include <utility>
#include <vector>

#include "call.hpp"
#include "postlude/bound.hpp"
#include "weight.hpp"

namespace postlude {
namespace python {

template <class Op>
struct BoundOp {
  Op op;
  std::vector<nb::object> keeps;
  ContextOptions options;
};

// A weight argument, and the member of the params that was read from it.
template <class Params>
struct BoundWeight {
  nb::handle object;
  WeightRef Params::* member;
};

// Binds the params. A weight of which the op made a packed copy is not kept.
template <class Op, class Params>
BoundOp<Op> bind(Call& call, const Params& params, nb::handle pack,
                 std::initializer_list<BoundWeight<Params>> weights) {
  const Binding binding = call.flag(pack, "pack") ? Binding::pack : Binding::reference;
  call.locate();
  std::optional<Op> op;
  call.with_context([&](Context& context) { op.emplace(params, binding, context); });
  std::vector<nb::object> keeps = call.take_keeps();
  for (const BoundWeight<Params>& weight : weights) {
    const bool referenced = static_cast<bool>((op->params().*weight.member).plain());
    if (referenced || as_weight(weight.object) != nullptr) {
      keeps.push_back(call.keep(weight.object, "weight"));
    }
  }
  return BoundOp<Op>{std::move(*op), std::move(keeps), call.options()};
}

}  // namespace python
}  // namespace postlude
