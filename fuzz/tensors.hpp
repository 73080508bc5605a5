// Tensors: those of one call, most of them right, some hostile in a size, a stride, an offset, a
// dtype or a device.
//
// A tensor that claims more memory than is reasonable has a null pointer: what it claims cannot be
// checked by a library, so that only such calls are fair. Every other one has a block of the heap
// that is just as large as its elements span, so that AddressSanitizer sees each access beside it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <memory>
#include <vector>

#include "bytes.hpp"
#include "postlude/postlude.h"

namespace postlude {
namespace fuzz {

struct Element {
  std::uint8_t code;
  std::uint8_t bits;
};
inline constexpr Element f32{2, 32}, bf16{4, 16}, f16{2, 16}, i8{0, 8};

class Tensors {
 public:
  static constexpr std::int64_t largest_block = 1 << 20;

  // `hostile` in 64: how often something about a tensor is wrong.
  Tensors(Bytes& bytes, int hostile) : bytes_(bytes), hostile_(hostile) {}

  // True while every tensor is as it was asked for.
  bool as_asked() const { return as_asked_; }
  // True while no tensor has a null pointer in place of memory.
  bool in_memory() const { return in_memory_; }

  // Null, now and then, where the tensor is optional.
  const postlude_tensor* optional(std::vector<std::int64_t> shape, Element element) {
    return bytes_.one_in(2) ? make(std::move(shape), element) : nullptr;
  }

  // `transposed`: a matrix whose first dimension has stride 1.
  const postlude_tensor* make(std::vector<std::int64_t> shape, Element element,
                              bool transposed = false) {
    if (transposed) std::reverse(shape.begin(), shape.end());
    Made& made = made_.emplace_back();
    postlude_tensor& t = made.tensor;
    std::memset(&t, 0, sizeof t);
    t.device.device_type = POSTLUDE_CPU;
    t.dtype.code = element.code;
    t.dtype.bits = element.bits;
    t.dtype.lanes = 1;
    made.shape.assign(shape.begin(), shape.end());
    made.strides.assign(shape.size(), 1);
    const std::int64_t gap = bytes_.one_in(4) ? bytes_.integer(0, 9) : 0;
    for (std::size_t d = shape.size(); d-- > 1;) {
      made.strides[d - 1] = made.strides[d] * std::max<std::int64_t>(shape[d], 1) + gap;
    }
    if (transposed) {
      std::reverse(made.shape.begin(), made.shape.end());
      std::reverse(made.strides.begin(), made.strides.end());
    }
    if (bytes_.integer(0, 63) >= 64 - hostile_) {
      as_asked_ = false;
      spoil(made);
    }
    t.ndim = made.rank_override != 0 ? made.rank_override : static_cast<int>(made.shape.size());
    t.shape = made.shape.empty() ? nullptr : made.shape.data();
    t.strides = made.no_strides || made.strides.empty() ? nullptr : made.strides.data();
    place(made);
    return &t;
  }

 private:
  struct Made {
    postlude_tensor tensor;
    std::vector<std::int64_t> shape, strides;
    std::unique_ptr<char[]> block;
    int rank_override = 0;
    bool no_strides = false;
  };

  std::int64_t any_integer() {
    constexpr auto most = std::numeric_limits<std::int64_t>::max();
    constexpr std::int64_t one = 1;
    return bytes_.pick<std::int64_t>({0,           1,
                                      -1,          2,
                                      -2,          3,
                                      7,           8,
                                      33,          64,
                                      1000,        one << 31,
                                      one << 32,   one << 59,
                                      one << 60,   one << 61,
                                      one << 62,   most,
                                      most - 1,    -most,
                                      -most - 1,   (one << 31) - 1,
                                      -(one << 31)});
  }

  void spoil(Made& made) {
    postlude_tensor& t = made.tensor;
    const auto dimension = made.shape.empty()
                               ? 0
                               : static_cast<std::size_t>(bytes_.integer(
                                     0, static_cast<std::int64_t>(made.shape.size()) - 1));
    switch (bytes_.integer(0, 11)) {
      case 0:
      case 1:
        if (!made.shape.empty()) made.shape[dimension] = any_integer();
        break;
      case 2:
      case 3:
        if (!made.strides.empty()) made.strides[dimension] = any_integer();
        break;
      case 4:
        made.shape.insert(made.shape.begin(), any_integer());
        made.strides.insert(made.strides.begin(), any_integer());
        break;
      case 5:
        if (!made.shape.empty()) {
          made.shape.pop_back();
          made.strides.pop_back();
        }
        break;
      case 6:
        t.byte_offset = bytes_.one_in(2) ? static_cast<std::uint64_t>(bytes_.integer(0, 9))
                                         : static_cast<std::uint64_t>(any_integer());
        break;
      case 7:
        t.dtype.code = static_cast<std::uint8_t>(bytes_.integer(0, 255) % 8);
        t.dtype.bits = bytes_.pick<std::uint8_t>({0, 1, 4, 8, 16, 32, 64, 255});
        t.dtype.lanes = bytes_.pick<std::uint16_t>({1, 1, 1, 0, 2, 65535});
        break;
      case 8:
        t.device.device_type = static_cast<decltype(t.device.device_type)>(
            bytes_.pick<std::int32_t>({0, 1, 2, 3, 4, -1, 99}));
        t.device.device_id = static_cast<std::int32_t>(any_integer());
        break;
      case 9:  // more dimensions than the arrays have, and fewer than none
        made.rank_override = bytes_.pick<int>(
            {-1, 9, 1000, std::numeric_limits<int>::max(), std::numeric_limits<int>::min()});
        break;
      case 10:
        made.no_strides = true;
        break;
      default:
        made.shape.assign(8, 1);
        made.strides.assign(8, any_integer());
    }
  }

  // Gives the tensor memory for the elements that it claims, or a null pointer.
  void place(Made& made) {
    postlude_tensor& t = made.tensor;
    const long double bytes = std::max<std::uint8_t>(t.dtype.bits / 8, 1);
    long double first = 0, last = 0, stride = 1, elements = 1;
    bool empty = false, sane = made.rank_override == 0;
    for (std::size_t d = made.shape.size(); d-- > 0;) {
      if (!made.no_strides) stride = static_cast<long double>(made.strides[d]);
      const auto size = static_cast<long double>(made.shape[d]);
      empty = empty || size == 0;
      sane = sane && size >= 0;
      elements *= size;
      (stride < 0 ? first : last) += stride * (size > 0 ? size - 1 : 0);
      if (made.no_strides) stride *= size;
    }
    const long double span = (last - first + 1) * bytes + static_cast<long double>(t.byte_offset);
    // Many elements in little memory would be right, and take all day.
    if (!sane || std::max(span, elements) > static_cast<long double>(largest_block) ||
        t.device.device_type == POSTLUDE_CUDA) {
      in_memory_ = in_memory_ && empty;
      return;
    }
    if (empty) return;
    const auto size = static_cast<std::size_t>(span);
    made.block = std::make_unique<char[]>(size);
    std::uint64_t state = bytes_.bits(2);
    for (std::size_t i = 0; i < size; ++i) {  // no pattern of these bytes is a NaN or an infinity
      state = state * 6364136223846793005u + 1442695040888963407u;
      made.block[i] = static_cast<char>((state >> 40) % 48);
    }
    t.data = made.block.get() + static_cast<std::ptrdiff_t>(-first * bytes);
  }

  Bytes& bytes_;
  int hostile_;
  bool as_asked_ = true;
  bool in_memory_ = true;
  std::deque<Made> made_;  // whose elements stay where they are
};

}  // namespace fuzz
}  // namespace postlude
