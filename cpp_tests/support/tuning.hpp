// For tests of tune files: the text of one, and tensors that nothing reads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "postlude/postlude.h"
#include "postlude/tensor_view.hpp"

namespace postlude {
namespace test {

inline std::vector<std::string> tune_lines() {
  return {"postlude tune file 1",
          "version " + std::string(postlude_version()),
          "gpu A GPU (of tests)",
          "arch sm_90",
          "multiprocessors 132",
          "# a remark",
          "",
          "dtype=bf16 m=16 n=64 k=128 epilogue=plain kernel=test.tiled tile=large us=41.2 "
          "shipped_us=43",
          "dtype=f16 m=1 n=96 k=32 epilogue=gated kernel=test.tiled tile=small us=0.5 "
          "shipped_us=7.25"};
}

inline std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

// With line `number`, from 1 on, replaced.
inline std::string tune_text_with(std::size_t number, const std::string& line) {
  std::vector<std::string> lines = tune_lines();
  lines[number - 1] = line;
  return joined(lines);
}

// A tensor at an address of its own, where there is no memory.
inline TensorView nowhere(Device device, DType dtype, std::vector<std::int64_t> shape,
                          std::int64_t pitch = 0) {
  static std::uintptr_t next = 0;
  next += std::uintptr_t{1} << 24;
  std::int64_t strides[] = {1, 1};
  if (shape.size() == 2) strides[0] = pitch > 0 ? pitch : shape[1];
  return TensorView(reinterpret_cast<void*>(next), dtype, static_cast<int>(shape.size()),
                    shape.data(), strides, device);
}

}  // namespace test
}  // namespace postlude
