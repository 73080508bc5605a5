// Bindings of show_config, clear_workspaces and the hook by which postlude._interop describes
// frameworks.
#include "adapter.hpp"
#include "contexts.hpp"
#include "module.hpp"
#include "nanobind/stl/string.h"
#include "postlude/ops.hpp"
#include "postlude/postlude.h"

namespace postlude {
namespace python {

void bind_config(nb::module_& m) {
  m.attr("version") = postlude_version();
  m.def("show_config", &show_config,
        "Version, build options, backends, oneDNN version, instruction set, CUDA architectures, "
        "one a line.");
  m.def("clear_workspaces", &clear_workspaces, nb::call_guard<nb::gil_scoped_release>(),
        "Frees the workspaces that ops have kept, of all threads; a thread inside an op frees its "
        "own at the end of it.");
  m.def("set_adapter_factory", &set_adapter_factory, nb::arg("factory"),
        nb::sig("def set_adapter_factory(factory: typing.Any) -> None"),
        "Sets the function (type) -> postlude._interop.Adapter | None.");
}

}  // namespace python
}  // namespace postlude
