// changed: whether what a module of postlude.nn was bound to is no longer as it was.
#include "module.hpp"
#include "nanobind/typing.h"

namespace postlude {
namespace python {
namespace {

using Items = nb::typed<nb::tuple, nb::object, nb::ellipsis>;

nb::object steal_or_throw(PyObject* object) {
  if (object == nullptr) throw nb::python_error();
  return nb::steal(object);
}

bool equal(nb::handle a, nb::handle b) {
  const int result = PyObject_RichCompareBool(a.ptr(), b.ptr(), Py_EQ);
  if (result < 0) throw nb::python_error();
  return result != 0;
}

// (table, name, value)
bool slot_changed(nb::handle slot) {
  PyObject* const now =
      PyDict_GetItemWithError(PyTuple_GetItem(slot.ptr(), 0), PyTuple_GetItem(slot.ptr(), 1));
  if (now == nullptr && PyErr_Occurred() != nullptr) throw nb::python_error();
  return now != PyTuple_GetItem(slot.ptr(), 2);
}

// (tensor, version or None, pointer, ...)
bool content_changed(nb::handle content) {
  static PyObject* const data_ptr = PyUnicode_InternFromString("data_ptr");
  static PyObject* const version = PyUnicode_InternFromString("_version");
  PyObject* const tensor = PyTuple_GetItem(content.ptr(), 0);
  const nb::handle known = PyTuple_GetItem(content.ptr(), 1);
  const nb::object pointer = steal_or_throw(PyObject_CallMethodObjArgs(tensor, data_ptr, nullptr));
  if (!equal(pointer, PyTuple_GetItem(content.ptr(), 2))) return true;
  return !known.is_none() && !equal(steal_or_throw(PyObject_GetAttr(tensor, version)), known);
}

template <class Function>
bool any_of(const Items& items, Function&& function) {
  const Py_ssize_t count = PyTuple_Size(items.ptr());
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (function(PyTuple_GetItem(items.ptr(), i))) return true;
  }
  return false;
}

bool changed(const Items& slots, const Items& contents) {
  return any_of(slots, slot_changed) || any_of(contents, content_changed);
}

}  // namespace

void bind_changed(nb::module_& m) {
  m.def("changed", &changed, nb::arg("slots"), nb::arg("contents"),
        "Whether a table lacks the value of its slot, or a tensor has another pointer or version; "
        "see postlude.nn._bound for Slot and Content.");
}

}  // namespace python
}  // namespace postlude
