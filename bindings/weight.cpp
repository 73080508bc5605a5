// Bindings of Weight, pack_weight, quantize_weight and quantized_weight.
#include "weight.hpp"

#include <utility>

#include "call.hpp"
#include "module.hpp"

namespace postlude {
namespace python {
namespace {

PyTypeObject* weight_type = nullptr;

nb::object made(Weight weight, Call& call) {
  return nb::cast(PyWeight{std::move(weight), call.adapter(), call.take_keeps()});
}

Grouping grouping(const Call& call, nb::handle object) {
  const std::string name = call.text(object, "group");
  if (name != "rows" && name != "k") call.fail("group", "'rows' or 'k'", "'" + name + "'");
  return name == "rows" ? Grouping::rows : Grouping::k;
}

nb::object pack(nb::handle weight, nb::handle gated, nb::handle layout, nb::handle norm,
                nb::handle stream) {
  Call call("pack_weight", stream);
  call.allow_grad();
  const TensorView view = call.tensor(weight, "weight");
  PackOptions options;
  options.gated = call.flag(gated, "gated");
  options.layout = call.layout(layout);
  options.norm = call.kept_norm(norm);  // its addresses must stay its own
  call.locate();
  Weight packed;
  call.with_context([&](Context& context) { packed = pack_weight(view, options, context); });
  return made(std::move(packed), call);
}

nb::object quantize(nb::handle weight, nb::handle bits, nb::handle group, nb::handle groups,
                    nb::handle group_size, nb::handle stream) {
  Call call("quantize_weight", stream);
  call.allow_grad();
  const TensorView view = call.tensor(weight, "weight");
  QuantizeOptions options;
  options.bits = static_cast<int>(call.integer(bits, "bits"));
  options.grouping = grouping(call, group);
  const bool rows = options.grouping == Grouping::rows;
  const nb::handle wanted = rows ? groups : group_size;
  const nb::handle unwanted = rows ? group_size : groups;
  if (wanted.is_none()) call.fail(rows ? "groups" : "group_size", "an int", "None");
  if (!unwanted.is_none()) {
    call.fail(rows ? "group_size" : "groups",
              rows ? "None with group='rows'" : "None with group='k'", "a value");
  }
  (rows ? options.groups : options.group_size) =
      call.integer(wanted, rows ? "groups" : "group_size");
  call.locate();
  Weight quantized;
  call.with_context([&](Context& context) { quantized = quantize_weight(view, options, context); });
  return made(std::move(quantized), call);
}

nb::object borrow(nb::handle weight, nb::handle scales, nb::handle group) {
  Call call("quantized_weight", nb::none());
  call.allow_grad();
  if (weight.is_none()) call.fail_type("weight", "a tensor", weight);
  if (scales.is_none()) call.fail_type("scales", "a tensor", scales);
  const TensorView values_view = call.kept(weight, "weight");
  const TensorView scales_view = call.kept(scales, "scales");
  const Grouping shared = grouping(call, group);
  try {
    return made(borrow_quantized(values_view, scales_view, shared), call);
  } catch (const std::invalid_argument& error) {
    const std::string text = error.what();
    throw std::invalid_argument("[quantized_weight] " + text.substr(text.find("] ") + 2));
  }
}

nb::object in_framework(const PyWeight& self, nb::object object) {
  const bool wrap = self.adapter != nullptr && !self.adapter->wrap.is_none();
  return wrap ? self.adapter->wrap(object) : object;
}

nb::object unpack(nb::handle object) {
  const PyWeight& self = *nb::inst_ptr<PyWeight>(object);
  const Weight& weight = self.weight;
  const std::int64_t shape[] = {weight.out_features(), weight.in_features()};
  Call call("Weight.unpack", nb::none());
  Output out = call.output_for(self.adapter, weight.dtype(), weight.device(), 2, shape);
  call.with_context([&](Context& context) { weight.unpack(out.view, context); });
  return call.result(out);
}

nb::object scales(nb::handle object) {
  const PyWeight& self = *nb::inst_ptr<PyWeight>(object);
  if (!self.weight.quantized()) return nb::none();
  return in_framework(self, dlpack_object(self.weight.scales(), object));
}

std::string description(const PyWeight& self) {
  const Weight& w = self.weight;
  std::string text = "postlude.Weight((" + std::to_string(w.out_features()) + ", " +
                     std::to_string(w.in_features()) + "), " + to_string(w.dtype()) + ", " +
                     to_string(w.device());
  if (w.packed()) text += ", packed";
  if (w.quantized())
    text += w.grouping() == Grouping::rows ? ", scales per rows" : ", scales along k";
  return text + ", " + std::to_string(w.bytes()) + " bytes)";
}

}  // namespace

const PyWeight* as_weight(nb::handle object) {
  return Py_TYPE(object.ptr()) == weight_type ? nb::inst_ptr<PyWeight>(object) : nullptr;
}

void bind_weight(nb::module_& m) {
  nb::class_<PyWeight> weight(m, "Weight", nb::is_final(),
                              "A weight matrix (out, in) prepared once for the kernels of a "
                              "device: packed, or int8 with scales.\n\n"
                              "Made by ops.pack_weight, ops.quantize_weight and "
                              "ops.quantized_weight; taken by every op as its weight.");
  weight
      .def_prop_ro(
          "shape",
          [](const PyWeight& self) {
            return nb::make_tuple(self.weight.out_features(), self.weight.in_features());
          },
          nb::sig("def shape(self) -> tuple[int, int]"),
          "(out features, in features); a gated weight counts both halves.")
      .def_prop_ro(
          "dtype", [](const PyWeight& self) { return to_string(self.weight.dtype()); },
          "\"float32\", \"bfloat16\", \"float16\", or \"int8\" where quantised.")
      .def_prop_ro(
          "device", [](const PyWeight& self) { return to_string(self.weight.device()); },
          "\"cpu\" or \"cuda:<index>\".")
      .def_prop_ro(
          "packed", [](const PyWeight& self) { return self.weight.packed(); },
          "Whether it holds a copy in the kernels' own layout.")
      .def_prop_ro(
          "quantized", [](const PyWeight& self) { return self.weight.quantized(); },
          "Whether it is int8 with scales.")
      .def_prop_ro(
          "group",
          [](const PyWeight& self) -> nb::object {
            if (!self.weight.quantized()) return nb::none();
            return nb::str(self.weight.grouping() == Grouping::rows ? "rows" : "k");
          },
          nb::sig("def group(self) -> str | None"),
          "How scales are shared, \"rows\" or \"k\"; None where not quantised.")
      .def_prop_ro(
          "bytes", [](const PyWeight& self) { return self.weight.bytes(); },
          "Bytes of memory that it owns; 0 where it only borrows.")
      .def_prop_ro("scales", &scales, nb::sig("def scales(self) -> typing.Any"),
                   "The float32 scales, (groups,) or (out, in / group_size), as a tensor that "
                   "keeps this Weight alive; "
                   "None where not quantised.")
      .def("unpack", &unpack, nb::sig("def unpack(self) -> typing.Any"),
           "The matrix (out, in) as it went in, bit for bit, as a new tensor; int8 values where "
           "quantised.")
      .def("__repr__", &description);
  weight_type = reinterpret_cast<PyTypeObject*>(weight.ptr());
  m.def("pack_weight", &pack, arg("weight"), arg("gated"), arg("layout"), arg("norm"),
        arg("stream"),
        nb::sig("def pack_weight(weight: typing.Any, gated: bool, layout: str, norm: typing.Any, "
                "stream: int | None) -> Weight"));
  m.def("quantize_weight", &quantize, arg("weight"), arg("bits"), arg("group"), arg("groups"),
        arg("group_size"), arg("stream"),
        nb::sig("def quantize_weight(weight: typing.Any, bits: int, group: str, groups: int | "
                "None, group_size: int | None, stream: int | None) -> Weight"));
  m.def("quantized_weight", &borrow, arg("weight"), arg("scales"), arg("group"),
        nb::sig(
            "def quantized_weight(weight: typing.Any, scales: typing.Any, group: str) -> Weight"));
}

}  // namespace python
}  // namespace postlude
