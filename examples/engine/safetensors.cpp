// The format: the header's length in eight bytes, the header in JSON, the tensors' bytes without
// holes. All numbers are little-endian, as on the machines that Postlude runs on.
#include "safetensors.hpp"

#include <algorithm>
#include <filesystem>
#include <stdexcept>

namespace engine {
namespace {

constexpr std::int64_t max_header = 4 << 20;  // some 40,000 tensors

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

std::string to_string(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (std::int64_t size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "(" + text + ")";
}

// The header's JSON. All that a header holds are objects, texts and lists of whole numbers;
// nothing here calls itself, so that no header can be nested too deeply.
class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  // Calls member(name) at each value of an object.
  template <class Member>
  void object(const Member& member) {
    list('{', '}', [&] {
      const std::string name = text();
      need(':');
      member(name);
    });
  }

  std::string text() {  // escapes stay as they are
    need('"');
    const std::size_t begin = at_;
    for (; text_[at_] != '"'; ++at_) {
      if (text_[at_] == '\\') ++at_;
      if (at_ >= text_.size() || static_cast<unsigned char>(text_[at_]) < ' ') expected("a quote");
    }
    return text_.substr(begin, at_++ - begin);
  }

  std::vector<std::int64_t> numbers() {
    std::vector<std::int64_t> result;
    list('[', ']', [&] { result.push_back(number()); });
    return result;
  }

  void end() {
    skip_blanks();
    if (at_ < text_.size()) expected("the end");
  }

 private:
  [[noreturn]] void expected(const std::string& what) const {
    fail("bad JSON: expected " + what + " at byte " + std::to_string(at_) + " of the header");
  }

  void skip_blanks() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }

  bool found(char wanted) {
    skip_blanks();
    if (at_ == text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  template <class Item>
  void list(char open, char close, const Item& item) {
    need(open);
    if (found(close)) return;
    do {
      item();
    } while (found(','));
    need(close);
  }

  void need(char wanted) {
    if (!found(wanted)) expected(std::string("'") + wanted + "'");
  }

  std::int64_t number() {
    skip_blanks();
    std::int64_t value = 0;
    const std::size_t begin = at_;
    for (; text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      if (at_ - begin > 15) expected("a smaller number");
      value = 10 * value + (text_[at_] - '0');
    }
    if (at_ == begin) expected("a whole number");
    return value;
  }

  const std::string& text_;  // the character after the last is a 0
  std::size_t at_ = 0;
};

Tensor read_entry(Parser& json) {
  Tensor tensor;
  std::vector<std::int64_t> offsets;
  json.object([&](const std::string& name) {
    if (name == "dtype") {
      tensor.dtype = json.text();
    } else if (name == "shape") {
      tensor.shape = json.numbers();
    } else if (name == "data_offsets") {
      offsets = json.numbers();
    } else {
      fail("expected dtype, shape and data_offsets, got " + name);
    }
  });
  if (offsets.size() != 2) fail("data_offsets: expected two numbers");
  tensor.begin = offsets[0];
  tensor.end = offsets[1];
  return tensor;
}

// Whether a tensor makes sense by itself.
void check(const Tensor& tensor, std::int64_t data_bytes) {
  static const std::map<std::string, std::int64_t> sizes = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1},
      {"U16", 2},  {"I16", 2}, {"F16", 2}, {"BF16", 2},    {"U32", 4},
      {"I32", 4},  {"F32", 4}, {"U64", 8}, {"I64", 8},     {"F64", 8}};
  const auto size_of = sizes.find(tensor.dtype);
  if (size_of == sizes.end()) fail("unknown dtype '" + tensor.dtype + "'");
  const std::string shape = " " + to_string(tensor.shape);
  std::int64_t bytes = size_of->second;
  for (std::int64_t size : tensor.shape) {
    // Before the product can overflow; a size of 0 makes it 0 whatever follows.
    if (bytes > 0 && size > data_bytes / bytes) fail("larger than the file:" + shape);
    bytes *= size;
  }
  const std::string span =
      "bytes " + std::to_string(tensor.begin) + " to " + std::to_string(tensor.end);
  if (tensor.end > data_bytes) fail(span + " reach past the last, " + std::to_string(data_bytes));
  if (tensor.end - tensor.begin != bytes) fail(span + " do not fit " + tensor.dtype + shape);
}

}  // namespace

Safetensors::Safetensors(const std::string& path) : path_(path), file_(path, std::ios::binary) {
  try {
    read_header();
  } catch (const std::exception& error) {
    fail(path + ": " + error.what());
  }
}

void Safetensors::read_header() {
  if (!file_) fail("cannot be read");
  const auto file_bytes = static_cast<std::int64_t>(std::filesystem::file_size(path_));
  std::uint64_t length = 0;
  if (!file_.read(reinterpret_cast<char*>(&length), 8)) fail("too short");
  if (length > static_cast<std::uint64_t>(std::min(max_header, file_bytes - 8))) {
    fail("a header of " + std::to_string(length) + " bytes, in a file of " +
         std::to_string(file_bytes) + "; at most " + std::to_string(max_header) + " are allowed");
  }
  std::string header(length, '\0');
  if (!file_.read(header.data(), static_cast<std::streamsize>(length))) fail("cannot be read");
  data_ = 8 + static_cast<std::int64_t>(length);

  std::vector<std::pair<std::int64_t, std::int64_t>> spans = {{0, 0}};
  Parser json(header);
  json.object([&](const std::string& name) {
    if (name == "__metadata__") {
      json.object([&](const std::string&) { json.text(); });
      return;
    }
    try {
      const auto [entry, is_new] = tensors_.emplace(name, read_entry(json));
      if (!is_new) fail("is there twice");
      check(entry->second, file_bytes - data_);
      spans.emplace_back(entry->second.begin, entry->second.end);
    } catch (const std::exception& error) {
      fail(name + ": " + error.what());
    }
  });
  json.end();
  std::sort(spans.begin(), spans.end());
  spans.emplace_back(file_bytes - data_, file_bytes - data_);
  for (std::size_t i = 1; i < spans.size(); ++i) {
    const std::string at = std::to_string(spans[i].first);
    if (spans[i].first < spans[i - 1].second) fail("two tensors overlap at byte " + at);
    if (spans[i].first > spans[i - 1].second) fail("no tensor has the bytes before " + at);
  }
}

void Safetensors::read(const std::string& name, const std::vector<std::int64_t>& shape, float* to) {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) fail(path_ + ": there is no " + name);
  const Tensor& tensor = found->second;
  if (tensor.dtype != "F32" || tensor.shape != shape) {
    fail(path_ + ": " + name + ": expected F32 " + to_string(shape) + ", got " + tensor.dtype +
         " " + to_string(tensor.shape));
  }
  file_.seekg(data_ + tensor.begin);
  if (!file_.read(reinterpret_cast<char*>(to), tensor.end - tensor.begin)) {
    fail(path_ + ": " + name + ": cannot be read");
  }
}

}  // namespace engine
