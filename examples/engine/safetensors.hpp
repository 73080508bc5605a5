// A reader of safetensors files that trusts nothing in them.
#pragma once

#include <cstdint>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace engine {

// What a header says of a tensor; its bytes are [begin, end) of those that follow the header.
struct Tensor {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0, end = 0;
};

// Errors are std::runtime_error with the file's name.
class Safetensors {
 public:
  // Reads the header. Refuses files that are too short, headers that are too large or no JSON,
  // unknown dtypes, shapes that do not fit the bytes, and tensors that overlap, reach past the end
  // of the file or leave bytes of it out.
  explicit Safetensors(const std::string& path);

  // Reads a tensor, which must be F32 of just this shape, to memory for that many floats.
  void read(const std::string& name, const std::vector<std::int64_t>& shape, float* to);

 private:
  void read_header();

  std::string path_;
  std::ifstream file_;
  std::int64_t data_ = 0;  // where the tensors' bytes begin
  std::map<std::string, Tensor> tensors_;
};

}  // namespace engine
