// The functions that add each op family to the Python module.
#pragma once

#include "nanobind/nanobind.h"

namespace postlude {
namespace python {

namespace nb = nanobind;

void bind_config(nb::module_& m);
void bind_weight(nb::module_& m);
void bind_linear(nb::module_& m);
void bind_qkv(nb::module_& m);
void bind_mlp(nb::module_& m);
void bind_norm(nb::module_& m);
void bind_changed(nb::module_& m);
void bind_tuning(nb::module_& m);
void bind_xla(nb::module_& m);

}  // namespace python
}  // namespace postlude
