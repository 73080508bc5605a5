// Bindings of tune files: the class TuneTable, the table that a thread's calls take, and what the
// command `postlude tune` asks of the core.
#include "postlude/tuning.hpp"

#include <optional>
#include <string>

#include "contexts.hpp"
#include "module.hpp"
#include "nanobind/stl/optional.h"
#include "nanobind/stl/pair.h"
#include "nanobind/stl/string.h"
#include "nanobind/stl/vector.h"

namespace postlude {
namespace python {
namespace {

Context& context_of(int gpu) {
  return kept_context(Device{DeviceType::cuda, gpu}, StreamRef()).context;
}

std::vector<std::pair<std::string, std::string>> entries(const TuneTable& table) {
  std::vector<std::pair<std::string, std::string>> result;
  const std::vector<std::string> lines = table.lines();
  const std::vector<TuneProblem> problems = table.problems();
  for (std::size_t i = 0; i < lines.size(); ++i) {
    result.emplace_back(tune_key(problems[i]), lines[i]);
  }
  return result;
}

}  // namespace

void bind_tuning(nb::module_& m) {
  nb::class_<TuneTable>(m, "TuneTable", "A tune file, read. TuneTable() is none.")
      .def(nb::init<>())
      .def_static(
          "parse",
          [](const std::string& text, const std::string& name) {
            return TuneTable::parse(text, name);
          },
          nb::arg("text"), nb::arg("name"),
          "The table of a file's text; ValueError with the name, the line and what is wrong.")
      .def_static("read", &TuneTable::read, nb::arg("path"), "The same of a file.")
      .def_prop_ro("name", &TuneTable::name, "Of the file; empty for none.")
      .def_prop_ro("header", &TuneTable::header, "The first five lines.")
      .def_prop_ro("entries", &entries, "The key of each entry, as tune_key's, and its line.");
  m.def("exchange_tune_table", &exchange_tune_table, nb::arg("table").none(),
        "Sets the table that this thread's calls on GPUs take, and returns the one before; None: "
        "that of POSTLUDE_TUNE_FILE.");
  m.def(
      "tune_header", [](int gpu) { return tune_header(context_of(gpu)); }, nb::arg("gpu"),
      "The first five lines of a tune file for this GPU.");
  m.def(
      "tune_tiles",
      [](const std::string& key, int gpu) {
        return tune_tiles(parse_tune_key(key), context_of(gpu));
      },
      nb::arg("key"), nb::arg("gpu"),
      "\"kernel=... tile=...\" of each tile that runs the problem of a key, such as \"dtype=bf16 "
      "m=16 n=4096 k=14336 epilogue=residual\".");
}

}  // namespace python
}  // namespace postlude
