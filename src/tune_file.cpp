// TuneTable: reads tune files; trusts nothing in them.
#include <cstdlib>
#include <fstream>
#include <unordered_map>

#include "check.hpp"
#include "tuning.hpp"

namespace postlude {
namespace detail {
namespace {

constexpr std::size_t max_bytes = std::size_t{16} << 20;
constexpr const char* title = "postlude tune file 1";

struct NamedDType {
  const char* name;
  DType dtype;
};
constexpr NamedDType dtypes[] = {{"f32", DType::f32}, {"bf16", DType::bf16}, {"f16", DType::f16}};

struct NamedEpilogue {
  const char* name;
  TuneEpilogue epilogue;
};
constexpr NamedEpilogue epilogues[] = {{"plain", TuneEpilogue::plain},
                                       {"activation", TuneEpilogue::activation},
                                       {"gated", TuneEpilogue::gated},
                                       {"residual", TuneEpilogue::residual},
                                       {"scaled", TuneEpilogue::scaled}};

bool printable(char c) { return c >= ' ' && c <= '~'; }

// Text from a file as a message may show it.
std::string shown(std::string_view text) {
  constexpr std::size_t longest = 60;
  std::string result = "'";
  for (const char c : text.substr(0, longest)) result += printable(c) ? c : '?';
  return result + (text.size() > longest ? "...'" : "'");
}

// The lines of one file, and the words of each.
class Reader {
 public:
  Reader(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  [[noreturn]] void expected(const std::string& what, const std::string& got) const {
    fail("tune_file", name_ + ", line " + std::to_string(line_), what, got);
  }

  // Whether there is another line, which then is the current one.
  bool next() {
    ++line_;
    if (text_.empty()) return false;
    const std::size_t end = text_.find('\n');
    if (end == std::string_view::npos) expected("a newline at the end", shown(text_));
    rest_ = whole_ = text_.substr(0, end);
    text_.remove_prefix(end + 1);
    return true;
  }

  int line() const { return line_; }
  std::string_view whole() const { return whole_; }
  bool blank() const { return whole_.empty() || whole_.front() == '#'; }

  // The rest of a line of the header, behind this word.
  std::string header(const std::string& word) {
    if (!next()) expected("'" + word + " ...'", "the end of the file");
    if (whole_.substr(0, word.size() + 1) != word + " " || whole_.size() == word.size() + 1) {
      expected("'" + word + " ...'", shown(whole_));
    }
    const std::string_view value = whole_.substr(word.size() + 1);
    for (const char c : value) {
      if (!printable(c)) expected("'" + word + "' and a text of ASCII", shown(whole_));
    }
    return std::string(value);
  }

  // The value of the next field of an entry, "name=value" up to a blank or the end of the line.
  std::string field(const std::string& name) {
    if (rest_.substr(0, name.size() + 1) != name + "=") {
      expected(name + "=...", rest_.empty() ? "the end of the line" : shown(rest_));
    }
    rest_.remove_prefix(name.size() + 1);
    const std::size_t end = rest_.find(' ');
    const std::string value(rest_.substr(0, end));
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    // A blank at the end of a line is one too many.
    if (end != std::string_view::npos && rest_.empty()) expected("no blank at the end", "one");
    return value;
  }

  void end_of_line() const {
    if (!rest_.empty()) expected("the end of the line", shown(rest_));
  }

  std::int64_t size(const std::string& name) {
    constexpr std::size_t most_digits = 15;
    const std::string value = field(name);
    const bool digits = value.find_first_not_of("0123456789") == std::string::npos;
    if (!digits || value.empty() || value.size() > most_digits || value.front() == '0') {
      expected(name + "= a number from 1 to 10^15", shown(value));
    }
    return std::strtoll(value.c_str(), nullptr, 10);
  }

  // Digits, and a point with more of them or none; whatever the locale is.
  double microseconds(const std::string& name) {
    const std::string value = field(name);
    double whole = 0.0, unit = 1.0;
    bool point = false, right = !value.empty() && value.size() <= 15;
    for (const char c : value) {
      if (c == '.' && !point) {
        point = true;
      } else if (c >= '0' && c <= '9') {
        whole = 10.0 * whole + (c - '0');
        if (point) unit *= 10.0;
      } else {
        right = false;
      }
    }
    if (!right || !(whole > 0.0)) expected(name + "= microseconds, as 41.2", shown(value));
    return whole / unit;
  }

  // A word of letters, digits, points and underscores.
  std::string word(const std::string& name) {
    const std::string value = field(name);
    constexpr const char* allowed = "abcdefghijklmnopqrstuvwxyz0123456789._";
    if (value.empty() || value.size() > 64 ||
        value.find_first_not_of(allowed) != std::string::npos) {
      expected(name + "= a name", shown(value));
    }
    return value;
  }

  template <class Named, std::size_t Count>
  const Named& one_of(const std::string& name, const Named (&all)[Count]) {
    const std::string value = field(name);
    std::string known;
    for (const Named& one : all) {
      if (value == one.name) return one;
      known += known.empty() ? one.name : std::string(", ") + one.name;
    }
    expected(name + "= one of " + known, shown(value));
  }

 private:
  std::string_view text_;   // what follows the current line
  std::string_view whole_;  // the current line
  std::string_view rest_;   // what no field has taken of it
  const std::string& name_;
  int line_ = 0;
};

TuneProblem read_problem(Reader& reader) {
  TuneProblem problem;
  problem.dtype = reader.one_of("dtype", dtypes).dtype;
  problem.m = reader.size("m");
  problem.n = reader.size("n");
  problem.k = reader.size("k");
  problem.epilogue = reader.one_of("epilogue", epilogues).epilogue;
  return problem;
}

TuneEntry read_entry(Reader& reader) {
  TuneEntry entry;
  entry.line = reader.line();
  entry.text = std::string(reader.whole());
  entry.problem = read_problem(reader);
  entry.kernel = reader.word("kernel");
  entry.tile = reader.word("tile");
  entry.us = reader.microseconds("us");
  entry.shipped_us = reader.microseconds("shipped_us");
  reader.end_of_line();
  return entry;
}

TuneState read_state(std::string_view text, const std::string& name) {
  TuneState state;
  state.name = name;
  if (text.size() > max_bytes) {
    fail("tune_file", name, "at most " + std::to_string(max_bytes) + " bytes",
         std::to_string(text.size()));
  }
  Reader reader(text, name);
  if (!reader.next() || reader.whole() != title) {
    reader.expected(std::string("'") + title + "'", shown(reader.whole()));
  }
  state.version = reader.header("version");
  state.device.name = reader.header("gpu");
  state.device.arch = reader.header("arch");
  const std::string count = reader.header("multiprocessors");
  const bool digits = count.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || count.size() > 6) reader.expected("'multiprocessors' and a number", shown(count));
  state.device.multiprocessors = static_cast<int>(std::strtol(count.c_str(), nullptr, 10));
  std::unordered_map<TuneProblem, int, TuneProblemHash> seen;
  while (reader.next()) {
    if (reader.blank()) continue;
    state.entries.push_back(read_entry(reader));
    const auto [first, is_new] = seen.emplace(state.entries.back().problem, reader.line());
    if (!is_new) {
      reader.expected("one entry for a problem",
                      "a second one for that of line " + std::to_string(first->second));
    }
  }
  return state;
}

}  // namespace

std::size_t TuneProblemHash::operator()(const TuneProblem& p) const {
  std::uint64_t hash =
      static_cast<std::uint64_t>(p.epilogue) * 16 + static_cast<std::uint64_t>(p.dtype);
  for (const std::int64_t size : {p.m, p.n, p.k}) {
    hash = (hash ^ static_cast<std::uint64_t>(size)) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  }
  return static_cast<std::size_t>(hash);
}

std::string header_text(const std::string& version, const TuneDevice& device) {
  return std::string(title) + "\nversion " + version + "\ngpu " + device.name + "\narch " +
         device.arch + "\nmultiprocessors " + std::to_string(device.multiprocessors) + "\n";
}

}  // namespace detail

inline namespace v1 {

TuneTable TuneTable::parse(std::string_view text, const std::string& name) {
  TuneTable table;
  table.state_ = std::make_shared<const detail::TuneState>(detail::read_state(text, name));
  return table;
}

TuneTable TuneTable::read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  char piece[1 << 16];
  // A little more than allowed is enough to know that it is too much.
  while (file && text.size() <= detail::max_bytes) {
    file.read(piece, sizeof piece);
    text.append(piece, static_cast<std::size_t>(file.gcount()));
  }
  if (!file.is_open() || file.bad()) {
    detail::fail("tune_file", path, "a file that can be read", "none");
  }
  return parse(text, path);
}

std::string TuneTable::name() const { return state_ == nullptr ? "" : state_->name; }

std::size_t TuneTable::size() const { return state_ == nullptr ? 0 : state_->entries.size(); }

std::string TuneTable::header() const {
  return state_ == nullptr ? "" : detail::header_text(state_->version, state_->device);
}

std::vector<std::string> TuneTable::lines() const {
  std::vector<std::string> result;
  if (state_ == nullptr) return result;
  for (const detail::TuneEntry& entry : state_->entries) result.push_back(entry.text);
  return result;
}

std::vector<TuneProblem> TuneTable::problems() const {
  std::vector<TuneProblem> result;
  if (state_ == nullptr) return result;
  for (const detail::TuneEntry& entry : state_->entries) result.push_back(entry.problem);
  return result;
}

std::string tune_key(const TuneProblem& p) {
  std::string text = "dtype=";
  for (const detail::NamedDType& one : detail::dtypes) {
    if (one.dtype == p.dtype) text += one.name;
  }
  text += " m=" + std::to_string(p.m) + " n=" + std::to_string(p.n) + " k=" + std::to_string(p.k);
  for (const detail::NamedEpilogue& one : detail::epilogues) {
    if (one.epilogue == p.epilogue) text += std::string(" epilogue=") + one.name;
  }
  return text;
}

TuneProblem parse_tune_key(std::string_view key) {
  const std::string line = std::string(key) + "\n";
  const std::string name = "key";
  detail::Reader reader(line, name);
  reader.next();
  const TuneProblem problem = detail::read_problem(reader);
  reader.end_of_line();
  return problem;
}

}  // namespace v1
}  // namespace postlude
