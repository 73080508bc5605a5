// A reader of safetensors files that trusts nothing in them.
#pragma once

#include <cstdint>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace engine {

// Errors are std::runtime_error with the file's name.
class Safetensors {
 public:
  // Reads the header. Refuses files that are too short, headers that are too large or not in the
  // form that safetensors' own library writes, and tensors that overlap, reach past the end of the
  // file or leave bytes of it out.
  explicit Safetensors(const std::string& path);

  // Reads a tensor, which must be F32 of just this shape, to memory for that many floats.
  void read(const std::string& name, const std::vector<std::int64_t>& shape, float* to);

 private:
  struct Tensor {
    std::string dtype, shape;  // as the header has them: they are compared, never computed with
    std::int64_t begin = 0, end = 0;
  };

  std::string path_;
  std::ifstream file_;
  std::int64_t data_ = 0;  // where the tensors' bytes begin
  std::map<std::string, Tensor> tensors_;
};

}  // namespace engine
