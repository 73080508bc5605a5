// Fuzzes the engine's reader of safetensors files: a file is refused by name, or its tensors are
// within it.
#include "../examples/engine/safetensors.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "target.hpp"
#include "text.hpp"

namespace {

using postlude::fuzz::Bytes;

[[noreturn]] void broken(const char* rule, const std::string& text) {
  std::fprintf(stderr, "broken: %s\n%s\n", rule, text.c_str());
  std::abort();
}

// One file in memory, written anew for every input.
class File {
 public:
  File() : descriptor_(memfd_create("safetensors", 0)) {
    if (descriptor_ < 0) broken("a file in memory can be made", std::strerror(errno));
    path_ = "/proc/self/fd/" + std::to_string(descriptor_);
  }
  const std::string& path() const { return path_; }
  void write(const std::string& content) {
    const auto size = static_cast<ssize_t>(content.size());
    if (ftruncate(descriptor_, 0) != 0 ||
        pwrite(descriptor_, content.data(), content.size(), 0) != size) {
      broken("a file in memory can be written", path_);
    }
  }

 private:
  int descriptor_;
  std::string path_;
};

constexpr const char* right =
    R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("b":{"dtype":"I8","shape":[5],"data_offsets":[24,29]},"empty":{"dtype":"F32","shape":[0,7],)"
    R"("data_offsets":[29,29]},"c":{"dtype":"F32","shape":[],"data_offsets":[29,33]}})";
constexpr std::size_t right_bytes = 33;

// The reader takes the file, so that what it reads of a tensor must be the file's.
void check(engine::Safetensors& file, const std::string& content, std::size_t data_begin) {
  const struct {
    const char* name;
    std::vector<std::int64_t> shape;
  } asked[] = {{"a", {2, 3}}, {"a", {3, 2}}, {"b", {5}}, {"c", {}}, {"empty", {0, 7}}, {"d", {1}}};
  for (const auto& one : asked) {
    std::int64_t count = 1;
    for (const std::int64_t size : one.shape) count *= size;
    const std::vector<float> before(static_cast<std::size_t>(count), 0.0f);
    std::vector<float> values = before;
    try {
      file.read(one.name, one.shape, values.data());
    } catch (const std::runtime_error& error) {
      if (std::string(error.what()).find("cannot be read") != std::string::npos) {
        broken("a tensor of a header that is taken can be read", content);
      }
      if (values != before) {
        broken("what is refused is not written", content);
      }
      continue;
    }
    const auto bytes = 4 * values.size();
    bool found = bytes == 0;
    for (std::size_t at = data_begin; !found && at + bytes <= content.size(); ++at) {
      found = std::memcmp(content.data() + at, values.data(), bytes) == 0;
    }
    if (!found) broken("what is read is in the file", content);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static File file;
  // From the end, where what makes the header does not look first.
  std::uint8_t last[4] = {};
  for (std::size_t i = 0; i < std::min(size, sizeof last); ++i) last[i] = data[size - 1 - i];
  Bytes odds(last, sizeof last);
  const std::string header = postlude::fuzz::text_of(data, size, right,
                                                     {"0",
                                                      "1",
                                                      "9",
                                                      ",",
                                                      ":",
                                                      "[",
                                                      "]",
                                                      "{",
                                                      "}",
                                                      "\"",
                                                      "\\",
                                                      "\"F32\"",
                                                      "\"BF16\"",
                                                      "\"shape\"",
                                                      "\"dtype\"",
                                                      "\"data_offsets\"",
                                                      "[0,4]",
                                                      "999999999999999",
                                                      "9999999999999999",
                                                      "-1",
                                                      "\"a\":",
                                                      "__metadata__",
                                                      " ",
                                                      "\n"});
  std::uint64_t length = header.size();
  std::size_t data_bytes = right_bytes;
  if (odds.one_in(8)) length = odds.bits(1) % 2 == 0 ? length - odds.bits(1) : odds.bits(2) << 24;
  if (odds.one_in(8)) data_bytes = static_cast<std::size_t>(odds.bits(1));
  std::string content(reinterpret_cast<const char*>(&length), sizeof length);
  content += header;
  for (std::size_t i = 0; i < data_bytes; ++i) content += static_cast<char>(i + 1);
  if (odds.one_in(16)) content.resize(odds.bits(1) % content.size());
  file.write(content);
  try {
    engine::Safetensors reader(file.path());
    check(reader, content, 8 + static_cast<std::size_t>(length));
  } catch (const std::runtime_error& error) {
    const std::string said = error.what();
    if (said.compare(0, file.path().size() + 2, file.path() + ": ") != 0) {
      broken("errors name the file", said);
    }
  }
  return 0;
}
