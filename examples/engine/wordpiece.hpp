// WordPiece: a text as the numbers of pieces of words, as BERT's uncased models were trained on.
#pragma once

#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "unicode_tables.hpp"

namespace engine {

// The characters of a text; what is no UTF-8 becomes U+FFFD.
inline std::u32string decode(const std::string& text) {
  std::u32string result;
  for (std::size_t at = 0; at < text.size();) {
    const auto lead = static_cast<unsigned char>(text[at++]);
    const int more = lead < 0x80 ? 0 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    char32_t c = more == 0 ? lead : lead & (0x3F >> more);
    int seen = 0;
    for (; seen < more && at < text.size() && (text[at] & 0xC0) == 0x80; ++seen) {
      c = c << 6 | (text[at++] & 0x3F);
    }
    // Cut off, too long, too large, half of a pair, or a tail alone.
    constexpr char32_t least[] = {0, 0x80, 0x800, 0x10000};
    const bool bad = seen < more || c < least[more] || c > 0x10FFFF || c >> 11 == 0x1B ||
                     (lead >= 0x80 && lead < 0xC0) || lead > 0xF7;
    result += bad ? U'\uFFFD' : c;
  }
  return result;
}

// Whether a character is in a table: that has the first of each range and the one after its last.
template <std::size_t size>
bool is(const char32_t (&table)[size], char32_t c) {
  return (std::upper_bound(table, table + size, c) - table) % 2 == 1;
}

// The character in lower case and without accents: usually one, several where parts remain, and
// none for a control or a mark.
inline std::u32string fold(char32_t c) {
  static const auto folds = [] {
    std::unordered_map<char32_t, std::u32string> result;
    std::istringstream words(kFolds);
    for (std::string word; words >> word;) result.emplace(decode(word)[0], decode(word).substr(1));
    return result;
  }();
  if (is(kDropped, c)) return {};
  if (c >= 0xAC00 && c < 0xAC00 + 11172) {  // a Korean syllable: two or three letters
    const char32_t index = c - 0xAC00, tail = index % 28;
    std::u32string parts = {0x1100 + index / 588, 0x1161 + index % 588 / 28};
    if (tail > 0) parts += 0x11A7 + tail;
    return parts;
  }
  const auto found = folds.find(c);
  return found == folds.end() ? std::u32string(1, c) : found->second;
}

class WordPiece {
 public:
  // The vocabulary: a piece a line, numbered from 0. Throws std::runtime_error where the file
  // cannot be read or lacks a special piece.
  explicit WordPiece(const std::string& path) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error(path + ": cannot be read");
    for (std::string line; std::getline(file, line);) {
      numbers_.emplace(decode(line), static_cast<int>(numbers_.size()));
    }
    for (const std::u32string& piece : specials_) {
      if (numbers_.count(piece) > 0) continue;
      throw std::runtime_error(path + ": lacks " + std::string(piece.begin(), piece.end()));
    }
  }

  // [CLS], the text's pieces and [SEP]: at most `most` numbers, of which the text's first are kept.
  std::vector<int> encode(const std::string& text, std::size_t most) const {
    std::vector<int> ids = {numbers_.at(U"[CLS]")};
    const std::u32string characters = decode(text);
    std::u32string word;
    for (std::size_t at = 0; at < characters.size(); ++at) {
      // The names of special pieces stand for these wherever they occur, inside of a word too.
      const auto special =
          std::find_if(specials_.begin(), specials_.end(), [&](const std::u32string& piece) {
            return characters.compare(at, piece.size(), piece) == 0;
          });
      if (special != specials_.end()) {
        add_pieces(word, ids);
        ids.push_back(numbers_.at(*special));
        at += special->size() - 1;
        continue;
      }
      const bool blank = is(kSpaces, characters[at]);
      for (char32_t part : blank ? std::u32string() : fold(characters[at])) {
        if (is(kAlone, part)) add_pieces(word, ids);
        word += part;
        if (is(kAlone, part)) add_pieces(word, ids);
      }
      if (blank) add_pieces(word, ids);
    }
    add_pieces(word, ids);
    if (ids.size() >= most) ids.resize(most - 1);
    ids.push_back(numbers_.at(U"[SEP]"));
    return ids;
  }

 private:
  // Ends a word: the longest piece that it begins with, then the longest of the rest, whose names
  // begin with "##"; a word that cannot be made of pieces is unknown as a whole.
  void add_pieces(std::u32string& word, std::vector<int>& ids) const {
    constexpr std::size_t longest_word = 100;
    std::vector<int> pieces;
    for (std::size_t begin = 0, size = 0; begin < word.size(); begin += size) {
      const auto name = [&] { return (begin > 0 ? U"##" : U"") + word.substr(begin, size); };
      size = word.size() <= longest_word ? word.size() - begin : 0;
      while (size > 0 && numbers_.count(name()) == 0) --size;
      if (size == 0) {
        pieces = {numbers_.at(U"[UNK]")};
        break;
      }
      pieces.push_back(numbers_.at(name()));
    }
    ids.insert(ids.end(), pieces.begin(), pieces.end());
    word.clear();
  }

  const std::vector<std::u32string> specials_ = {U"[PAD]", U"[UNK]", U"[CLS]", U"[SEP]", U"[MASK]"};
  std::unordered_map<std::u32string, int> numbers_;
};

}  // namespace engine
