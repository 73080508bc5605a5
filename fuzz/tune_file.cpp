// Fuzzes the parser of tune files: a text is refused by name and line, or is what the table says.
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "postlude/postlude.hpp"
#include "support/tuning.hpp"
#include "target.hpp"
#include "text.hpp"

namespace {

using postlude::TuneTable;

[[noreturn]] void broken(const std::string& rule, const std::string& text) {
  std::fprintf(stderr, "broken: %s\n%s\n", rule.c_str(), text.c_str());
  std::abort();
}

// Takes apart what was parsed and puts it together again.
void check(const TuneTable& table, const std::string& text) {
  const auto problems = table.problems();
  const auto lines = table.lines();
  if (problems.size() != lines.size()) broken("a line for each problem", text);
  std::string again = table.header();
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string key = postlude::tune_key(problems[i]);
    if (!(postlude::parse_tune_key(key) == problems[i])) broken("a key is its problem", text);
    if (lines[i].compare(0, key.size(), key) != 0) broken("a line begins with its key", text);
    again += lines[i] + "\n";
  }
  if (!(TuneTable::parse(again, "again").problems() == problems)) {
    broken("what is written again is the same", text);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string right = postlude::test::joined(postlude::test::tune_lines());
  const std::string text = postlude::fuzz::text_of(data, size, right,
                                                   {"0",
                                                    "9",
                                                    "=",
                                                    " ",
                                                    "\n",
                                                    "#",
                                                    ".",
                                                    "m=",
                                                    "us=",
                                                    "gated",
                                                    "bf16",
                                                    "dtype=f16 ",
                                                    "999999999999999",
                                                    "9999999999999999",
                                                    "\r",
                                                    "-1",
                                                    "1e9",
                                                    "version ",
                                                    "\xff",
                                                    "_"});
  try {
    check(TuneTable::parse(text, "a.tune"), text);
  } catch (const std::invalid_argument& error) {
    const std::string said = error.what();
    if (said.compare(0, 18, "[tune_file] a.tune") != 0) broken("errors name the file", said);
    if (said.size() > 400) broken("errors are short", said);
    for (const char c : said) {
      if (c < ' ' || c > '~') broken("errors are one line of ASCII", said);
    }
  }
  return 0;
}
