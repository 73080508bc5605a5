// Memo: the values of a pure function for the arguments that it was last asked for, so that
// repeated calls of an op need not work them out again.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace postlude {
namespace detail {

// Arguments are `Words` integers. A table of fixed size, in which arguments that share a place
// drive each other out: it never grows, and a value is the same whether it was found or made anew.
// Not to be shared by threads; meant to be thread_local.
template <std::size_t Words, class Value, std::size_t Size>
class Memo {
 public:
  using Arguments = std::array<std::int64_t, Words>;

  // The value for these arguments: make(), unless it is known. What make throws is passed on, and
  // nothing is kept.
  template <class Make>
  const Value& get(const Arguments& arguments, Make&& make) {
    Entry& entry = entries_[place(arguments)];
    if (!entry.filled || entry.arguments != arguments) {
      entry.value = make();
      entry.arguments = arguments;
      entry.filled = true;
    }
    return entry.value;
  }

 private:
  struct Entry {
    Arguments arguments{};
    bool filled = false;
    Value value{};
  };

  static std::size_t place(const Arguments& arguments) {
    std::uint64_t hash = 0x9e3779b97f4a7c15u;
    for (const std::int64_t word : arguments) {
      hash = (hash ^ static_cast<std::uint64_t>(word)) * 0xff51afd7ed558ccdu;
      hash ^= hash >> 32;
    }
    return static_cast<std::size_t>(hash % Size);
  }

  std::array<Entry, Size> entries_{};
};

}  // namespace detail
}  // namespace postlude
