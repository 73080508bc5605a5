// The values of options that Python gives by name; a wrong one is refused with the op and the
// argument.
#pragma once

#include <string_view>

#include "postlude/activation.hpp"
#include "postlude/params.hpp"

namespace postlude {
namespace python {

// Each throws std::invalid_argument "[op] argument: expected ..., got ...".
Activation activation_of(std::string_view op, std::string_view name);
GateLayout gate_layout_of(std::string_view op, std::string_view name);
// "pre_ln", "post_ln" or "parallel".
ResidualForm residual_form_of(std::string_view op, std::string_view name);

}  // namespace python
}  // namespace postlude
