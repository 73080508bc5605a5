// Bytes: turns what a fuzzer hands over into decisions; all are 0 once the bytes are used up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>

namespace postlude {
namespace fuzz {

class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

  std::uint64_t bits(int bytes) {
    std::uint64_t value = 0;
    for (int i = 0; i < bytes && place_ < size_; ++i) value = value << 8 | data_[place_++];
    return value;
  }
  // In [low, high], which lie less than 2^16 apart.
  std::int64_t integer(std::int64_t low, std::int64_t high) {
    const auto range = static_cast<std::uint64_t>(high - low + 1);
    return low + static_cast<std::int64_t>(bits(range > 256 ? 2 : 1) % range);
  }
  // True once in `n`; never where the bytes are used up.
  bool one_in(int n) { return integer(0, n - 1) == n - 1 && n > 1; }
  template <class T>
  T pick(std::initializer_list<T> values) {
    return *std::next(values.begin(), integer(0, static_cast<std::int64_t>(values.size()) - 1));
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
  std::size_t place_ = 0;
};

}  // namespace fuzz
}  // namespace postlude
