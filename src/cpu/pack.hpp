// Packing and unpacking of weights for the CPU backend.
#pragma once

#include <memory>

#include "backend.hpp"

namespace postlude {
namespace detail {

// The weight in panels; a plain contiguous copy where oneDNN has no fast kernel for the dtype on
// this machine.
std::shared_ptr<const WeightState> pack_panels(const TensorView& weight, const PackOptions& options,
                                               ContextState& context);
void unpack_panels(const WeightState& weight, const TensorView& out, ContextState& context);

}  // namespace detail
}  // namespace postlude
