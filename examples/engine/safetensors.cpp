// The format: the header's length in eight bytes, the header in JSON, the tensors' bytes without
// holes. All numbers are little-endian, as on the machines that Postlude runs on.
#include "safetensors.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <stdexcept>

namespace engine {
namespace {

void require(bool holds, const std::string& otherwise) {
  if (!holds) throw std::runtime_error(otherwise);
}

// Reads a header in the form that safetensors' own library writes: JSON without blanks, and with a
// tensor's members always in the same order.
class Header {
 public:
  explicit Header(const std::string& text) : text_(text) {}

  bool found(const std::string& wanted) {
    const bool here = text_.compare(at_, wanted.size(), wanted) == 0;
    if (here) at_ += wanted.size();
    return here;
  }

  void need(const std::string& wanted) {
    if (!found(wanted)) fail(wanted);
  }

  std::string until(const std::string& wanted) {
    const std::size_t begin = at_, end = text_.find(wanted, at_);
    if (end == std::string::npos) fail(wanted + " somewhere behind");
    at_ = end + wanted.size();
    return text_.substr(begin, end - begin);
  }

  std::int64_t number() {
    std::int64_t value = 0;
    const char* text = text_.c_str();
    const auto [end, error] = std::from_chars(text + at_, text + text_.size(), value);
    if (error != std::errc() || value < 0) fail("a whole number below 2^63");
    at_ = static_cast<std::size_t>(end - text);
    return value;
  }

  void end() {  // the library fills up with blanks
    if (text_.find_first_not_of(' ', at_) != std::string::npos) fail("the end");
  }

 private:
  [[noreturn]] void fail(const std::string& expected) const {
    throw std::runtime_error("header: expected " + expected + " at byte " + std::to_string(at_));
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

}  // namespace

Safetensors::Safetensors(const std::string& path) try : path_(path), file_(path, std::ios::binary) {
  require(file_.is_open(), "cannot be read");
  const auto file_bytes = static_cast<std::int64_t>(std::filesystem::file_size(path_));
  std::uint64_t length = 0;
  require(!!file_.read(reinterpret_cast<char*>(&length), 8), "too short");
  require(length <= static_cast<std::uint64_t>(file_bytes - 8),
          "a header of " + std::to_string(length) + " bytes does not fit");
  std::string text(length, '\0');
  require(!!file_.read(text.data(), static_cast<std::streamsize>(length)), "cannot be read");
  data_ = 8 + static_cast<std::int64_t>(length);

  Header header(text);
  std::vector<std::pair<std::int64_t, std::int64_t>> spans = {{0, 0}};
  header.need("{");
  do {
    header.need("\"");
    const std::string name = header.until("\"");
    header.need(":{");
    if (name == "__metadata__") {
      header.until("}");
      continue;
    }
    Tensor tensor;
    header.need("\"dtype\":\"");
    tensor.dtype = header.until("\"");
    header.need(",\"shape\":[");
    tensor.shape = header.until("]");
    header.need(",\"data_offsets\":[");
    tensor.begin = header.number();
    header.need(",");
    tensor.end = header.number();
    header.need("]}");
    require(tensor.begin <= tensor.end, name + ": its end comes before its begin");
    require(tensors_.emplace(name, tensor).second, name + ": is there twice");
    spans.emplace_back(tensor.begin, tensor.end);
  } while (header.found(","));
  header.need("}");
  header.end();

  std::sort(spans.begin(), spans.end());
  spans.emplace_back(file_bytes - data_, file_bytes - data_);
  for (std::size_t i = 1; i < spans.size(); ++i) {
    const std::int64_t end = spans[i - 1].second, next = spans[i].first;
    require(next == end, "expected a tensor or the end at byte " + std::to_string(end) +
                             " of the data, not " + std::to_string(next));
  }
} catch (const std::exception& error) {
  throw std::runtime_error(path + ": " + error.what());
}

void Safetensors::read(const std::string& name, const std::vector<std::int64_t>& shape, float* to) {
  const std::string subject = path_ + ": " + name + ": ";
  const auto found = tensors_.find(name);
  require(found != tensors_.end(), subject + "is not there");
  const Tensor& tensor = found->second;
  std::int64_t bytes = 4;
  std::string sizes;
  for (std::int64_t size : shape) {
    bytes *= size;
    sizes += (sizes.empty() ? "" : ",") + std::to_string(size);
  }
  require(
      tensor.dtype == "F32" && tensor.shape == sizes,
      subject + "expected F32 [" + sizes + "], got " + tensor.dtype + " [" + tensor.shape + "]");
  require(tensor.end - tensor.begin == bytes, subject + "does not have the bytes of its shape");
  file_.seekg(data_ + tensor.begin);
  file_.read(reinterpret_cast<char*>(to), bytes);
  require(!!file_, subject + "cannot be read");
}

}  // namespace engine
