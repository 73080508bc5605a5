// Texts for parsers: what the fuzzer hands over as it is, or a right text with a few changes.
#pragma once

#include <initializer_list>
#include <string>

#include "bytes.hpp"

namespace postlude {
namespace fuzz {

// A right text with up to eight changes: bytes, parts that are left out or said twice, and words
// put in.
inline std::string changed(std::string text, Bytes& bytes,
                           std::initializer_list<const char*> words) {
  const auto place = [&] { return static_cast<std::size_t>(bytes.bits(2)) % (text.size() + 1); };
  for (std::int64_t left = bytes.integer(0, 8); left > 0; --left) {
    const std::size_t at = place();
    const std::size_t length = static_cast<std::size_t>(bytes.integer(0, 40));
    switch (bytes.integer(0, 5)) {
      case 0:
        if (at < text.size()) text[at] = static_cast<char>(bytes.bits(1));
        break;
      case 1:
        text.erase(at, length);
        break;
      case 2:
        text.insert(at, text.substr(place(), length));
        break;
      case 3:
        text.insert(at, bytes.pick(words));
        break;
      case 4:
        text.replace(at, length, bytes.pick(words));
        break;
      default:
        text.resize(at);
    }
  }
  return text;
}

// A text of one of these kinds, as the first byte says: all that follows it, or `right` with
// changes.
inline std::string text_of(const std::uint8_t* data, std::size_t size, const std::string& right,
                           std::initializer_list<const char*> words) {
  if (size == 0) return right;
  if (data[0] % 4 == 0) return std::string(reinterpret_cast<const char*>(data + 1), size - 1);
  Bytes bytes(data + 1, size - 1);
  return changed(right, bytes, words);
}

}  // namespace fuzz
}  // namespace postlude
