// The activations that an epilogue can apply, each named by its exact formula.
#pragma once

#include <cstdint>
#include <string_view>

#include "postlude/export.hpp"

namespace postlude {
inline namespace v1 {

// Accuracy of each, alone: |error| <= 2^-20 |x| + half an ulp of the output dtype. NaN and
// infinities propagate as they do in PyTorch.
enum class Activation : std::uint8_t {
  none,        // x
  relu,        // max(x, 0)
  gelu_erf,    // x * Phi(x) = x/2 * (1 + erf(x / sqrt(2)))
  gelu_tanh,   // x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))
  quick_gelu,  // x * sigmoid(1.702 x)
  silu,        // x * sigmoid(x)
  relu2,       // max(x, 0)^2
};

// The order of the halves in the rows of a merged gated weight (2*I, K) and its bias (2*I).
enum class GateLayout : std::uint8_t {
  gate_up,  // rows 0..I-1 are the gate (activated), rows I..2I-1 the up projection
  up_gate,  // the other way round, as DeepSpeed merges them
};

// The activation's name as above.
POSTLUDE_API const char* to_string(Activation activation);
// "gate_up" or "up_gate".
POSTLUDE_API const char* to_string(GateLayout layout);

// The activation of a name: those above and the aliases "gelu" (gelu_erf), "gelu_new" and
// "gelu_pytorch_tanh" (gelu_tanh) and "swish" (silu). Throws std::invalid_argument with the list of
// names for any other.
POSTLUDE_API Activation parse_activation(std::string_view name);
// "gate_up" or "up_gate"; throws std::invalid_argument for any other.
POSTLUDE_API GateLayout parse_gate_layout(std::string_view name);

}  // namespace v1
}  // namespace postlude
