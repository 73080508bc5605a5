// Whether two views share an element, so that outputs can be kept off inputs.
#pragma once

#include "postlude/tensor_view.hpp"

namespace postlude {
namespace detail {

// True where the views may share an element: exact for the usual cases (disjoint ranges; slices of
// one tensor along any dimension), on the safe side for the rest. False where either is absent or
// empty.
bool overlap(const TensorView& a, const TensorView& b);

// True where two index tuples of the view may name one element.
bool overlaps_itself(const TensorView& view);

// True where the two views are the same elements in the same order.
bool same_memory(const TensorView& a, const TensorView& b);

}  // namespace detail
}  // namespace postlude
