// The format: the header's length in eight bytes, the header in JSON, the tensors' bytes without
// holes. All numbers are little-endian, as on the machines that Postlude runs on.
#include "safetensors.hpp"

#include <algorithm>
#include <filesystem>
#include <stdexcept>

#include "json.hpp"

namespace engine {
namespace {

constexpr std::int64_t max_header = 4 << 20;  // some 40,000 tensors

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

// What the header says of one tensor, where that makes sense by itself.
Tensor read_entry(const Json& entry, std::int64_t data_bytes) {
  static const std::map<std::string, std::int64_t> sizes = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1},
      {"U16", 2},  {"I16", 2}, {"F16", 2}, {"BF16", 2},    {"U32", 4},
      {"I32", 4},  {"F32", 4}, {"U64", 8}, {"I64", 8},     {"F64", 8}};
  Tensor tensor;
  tensor.dtype = entry["dtype"].expect('"').text;
  const auto size_of = sizes.find(tensor.dtype);
  if (size_of == sizes.end()) fail("unknown dtype '" + tensor.dtype + "'");
  std::int64_t bytes = size_of->second;
  for (const auto& [name, size] : entry["shape"].expect('[').members) {
    tensor.shape.push_back(size.integer());
    // Before the product can overflow; a size of 0 makes it 0 whatever follows.
    if (bytes > 0 && tensor.shape.back() > data_bytes / bytes) {
      fail("shape " + to_string(tensor.shape) + " is larger than the file");
    }
    bytes *= tensor.shape.back();
  }
  const auto& offsets = entry["data_offsets"].expect('[').members;
  if (offsets.size() != 2) fail("data_offsets: expected two numbers");
  tensor.begin = offsets[0].second.integer();
  tensor.end = offsets[1].second.integer();
  const std::string span = std::to_string(tensor.begin) + " to " + std::to_string(tensor.end);
  if (tensor.end > data_bytes) {
    fail("bytes " + span + " reach past the last, " + std::to_string(data_bytes));
  }
  if (tensor.end - tensor.begin != bytes) {
    fail("bytes " + span + " do not fit " + tensor.dtype + " " + to_string(tensor.shape));
  }
  return tensor;
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
  const Json json = parse_json(header);
  for (const auto& [name, entry] : json.expect('{').members) {
    if (name == "__metadata__") continue;
    try {
      const auto [place, is_new] = tensors_.emplace(name, read_entry(entry, file_bytes - data_));
      if (!is_new) fail("is there twice");
      spans.emplace_back(place->second.begin, place->second.end);
    } catch (const std::exception& error) {
      fail(name + ": " + error.what());
    }
  }
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

std::string to_string(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (std::int64_t size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "(" + text + ")";
}

}  // namespace engine
