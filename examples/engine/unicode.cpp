// Reads the tables of characters and answers questions about them.
#include "unicode.hpp"

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <unordered_map>
#include <utility>
#include <vector>

#include "unicode_tables.hpp"

namespace engine {
namespace {

using Ranges = std::vector<std::pair<char32_t, char32_t>>;

bool contains(const Ranges& ranges, char32_t c) {
  auto after = std::upper_bound(ranges.begin(), ranges.end(), std::pair(c, U'\U0010FFFF'));
  return after != ranges.begin() && c <= (--after)->second;
}

// The tables as unicode_tables.hpp writes them, read once.
struct Tables {
  Ranges kinds[3], dropped;
  std::unordered_map<char32_t, char32_t> lower;
  std::unordered_map<char32_t, std::u32string> bare;

  Tables()
      : kinds{ranges(kSpaces), ranges(kPunctuation), ranges(kIdeographs)},
        dropped(ranges(kDropped)) {
    read(kLower, [this](char32_t from, const std::u32string& to) { lower[from] = to[0]; });
    read(kBare, [this](char32_t from, const std::u32string& to) { bare[from] = to; });
    std::istringstream groups(kAccents);
    for (std::string word; groups >> word;) {
      const std::u32string group = decode(word);
      for (char32_t c : group) bare[c] = std::u32string(1, group[0]);
    }
    const auto compatible = [this](char32_t first, const char* targets) {
      for (char32_t target : decode(targets)) bare[first++] = std::u32string(1, target);
    };
    compatible(0xF900, kCompatibilityF900);
    compatible(0xFA70, kCompatibilityFA70);
    compatible(0x2F800, kCompatibility2F800);
  }

  static Ranges ranges(const char* table) {
    Ranges result;
    read(table, [&result](char32_t c, const std::u32string&) {
      if (result.empty() || c != result.back().second + 1) result.emplace_back(c, c);
      result.back().second = c;
    });
    return result;
  }

  // Calls act(character, target) for all characters of a table of items.
  template <class Act>
  static void read(const char* table, const Act& act) {
    const auto hex = [](const char*& at) {
      char* end = nullptr;
      const auto value = static_cast<char32_t>(std::strtoul(at, &end, 16));
      at = end;
      return value;
    };
    while (*table != '\0') {
      const char32_t first = hex(table);
      const char32_t last = *table == '-' ? hex(++table) : first;
      const char32_t step = *table == '/' ? hex(++table) : 1;
      std::u32string target;
      while (*table == ':' || *table == ',') target += hex(++table);
      for (char32_t c = first; c <= last; c += step) {
        act(c, target);
        if (target.size() == 1) target[0] += step;
      }
      while (*table == ' ') ++table;
    }
  }
};

const Tables& tables() {
  static const Tables result;
  return result;
}

}  // namespace

std::u32string decode(const std::string& text) {
  std::u32string result;
  for (std::size_t at = 0; at < text.size();) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const std::size_t more = lead < 0x80 ? 0 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    char32_t c = more == 0 ? lead : lead & (0x3F >> more);
    std::size_t seen = 0;
    while (seen < more && at + seen + 1 < text.size() && (text[at + seen + 1] & 0xC0) == 0x80) {
      c = c << 6 | (text[at + ++seen] & 0x3F);
    }
    // Too long, too large, half of a pair, a tail alone, or cut off.
    constexpr char32_t least[] = {0, 0x80, 0x800, 0x10000};
    const bool bad = seen < more || c < least[more] || c > 0x10FFFF || c >> 11 == 0x1B ||
                     (lead >= 0x80 && lead < 0xC0) || lead > 0xF7;
    result += bad ? U'\uFFFD' : c;
    at += 1 + seen;
  }
  return result;
}

void append(std::string& text, char32_t c) {
  const int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  constexpr unsigned lead[] = {0, 0xC0, 0xE0, 0xF0};
  text += static_cast<char>(lead[more] | c >> (6 * more));
  for (int i = more - 1; i >= 0; --i) text += static_cast<char>(0x80 | (c >> (6 * i) & 0x3F));
}

bool is(Kind kind, char32_t c) { return contains(tables().kinds[kind], c); }

std::u32string fold(char32_t c) {
  if (contains(tables().dropped, c)) return {};
  if (c >= 0xAC00 && c < 0xAC00 + 11172) {  // a Korean syllable: two or three letters
    const char32_t index = c - 0xAC00, tail = index % 28;
    std::u32string parts = {0x1100 + index / 588, 0x1161 + index % 588 / 28};
    if (tail > 0) parts += 0x11A7 + tail;
    return parts;
  }
  const auto lower = tables().lower.find(c);
  if (lower != tables().lower.end()) c = lower->second;
  const auto bare = tables().bare.find(c);
  return bare != tables().bare.end() ? bare->second : std::u32string(1, c);
}

}  // namespace engine
