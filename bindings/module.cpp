// The Python module postlude._C: conversion of arguments, and nothing else.
#include "module.hpp"

#include "postlude/error.hpp"

NB_MODULE(_C, m) {
  namespace nb = nanobind;
  using namespace postlude::python;  // NOLINT
#ifdef NDEBUG
  nb::set_leak_warnings(false);  // what a program still holds when it ends is its own affair
#endif
  m.doc() =
      "The compiled core of Postlude. Use postlude.ops; this module's functions take all arguments "
      "in order.";
  nb::exception<postlude::Unsupported> unsupported(m, "Unsupported", PyExc_NotImplementedError);
  unsupported.attr("__module__") = "postlude";
  unsupported.attr("__doc__") =
      "A valid request that no kernel of this build and device can run; the text says what was "
      "refused and why.";
  bind_config(m);
  bind_weight(m);
  bind_linear(m);
  bind_qkv(m);
  bind_mlp(m);
  bind_norm(m);
  bind_changed(m);
  bind_tuning(m);
  bind_xla(m);
}
