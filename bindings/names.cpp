// The values of options by name: see names.hpp.
#include "names.hpp"

#include <stdexcept>
#include <string>

namespace postlude {
namespace python {
namespace {

// What `parse` makes of the name; its refusal names this op and argument instead of the function.
template <class Parse>
auto parsed(Parse&& parse, std::string_view op, const char* argument, std::string_view name) {
  try {
    return parse(name);
  } catch (const std::invalid_argument& error) {
    const std::string text = error.what();
    const std::size_t end = text.find(": ");
    throw std::invalid_argument("[" + std::string(op) + "] " + argument + ": " +
                                (end == std::string::npos ? text : text.substr(end + 2)));
  }
}

}  // namespace

Activation activation_of(std::string_view op, std::string_view name) {
  return parsed(parse_activation, op, "activation", name);
}

GateLayout gate_layout_of(std::string_view op, std::string_view name) {
  return parsed(parse_gate_layout, op, "layout", name);
}

ResidualForm residual_form_of(std::string_view op, std::string_view name) {
  if (name == "pre_ln") return ResidualForm::pre_ln;
  if (name == "post_ln") return ResidualForm::post_ln;
  if (name == "parallel") return ResidualForm::parallel;
  throw std::invalid_argument("[" + std::string(op) +
                              "] form: expected 'pre_ln', 'post_ln' or 'parallel', got '" +
                              std::string(name) + "'");
}

}  // namespace python
}  // namespace postlude
