// Splits a text into words, and each word into the longest pieces that the vocabulary has.
#include "wordpiece.hpp"

#include <fstream>
#include <stdexcept>

#include "unicode.hpp"

namespace engine {

WordPiece::WordPiece(const std::string& vocabulary) {
  std::ifstream file(vocabulary);
  if (!file) throw std::runtime_error(vocabulary + ": cannot be read");
  for (std::string line; std::getline(file, line);) {
    numbers_.emplace(line, static_cast<int>(numbers_.size()));
  }
  unknown_ = number("[UNK]");
  start_ = number("[CLS]");
  end_ = number("[SEP]");
}

int WordPiece::number(const std::string& piece) const {
  const auto found = numbers_.find(piece);
  if (found == numbers_.end()) throw std::runtime_error("the vocabulary lacks " + piece);
  return found->second;
}

std::vector<int> WordPiece::encode(const std::string& text, std::size_t most) const {
  std::vector<int> ids = {start_};
  // The names of the special pieces stand for these wherever they occur, inside of a word too.
  std::size_t done = 0;
  for (std::size_t at = text.find('['); at != std::string::npos; at = text.find('[', at + 1)) {
    for (const char* name : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}) {
      const std::string special = name;
      if (text.compare(at, special.size(), special) != 0) continue;
      add_words(text.substr(done, at - done), ids);
      ids.push_back(number(special));
      done = at + special.size();
    }
  }
  add_words(text.substr(done), ids);
  if (ids.size() >= most) ids.resize(most - 1);
  ids.push_back(end_);
  return ids;
}

void WordPiece::add_words(const std::string& text, std::vector<int>& ids) const {
  std::u32string word;
  const auto end_word = [&] {
    if (!word.empty()) add_pieces(word, ids);
    word.clear();
  };
  for (char32_t original : decode(text)) {
    const bool alone = is(ideograph, original), blank = is(space, original);
    if (alone || blank) end_word();
    for (char32_t c : blank ? std::u32string() : fold(original)) {
      if (is(punctuation, c)) end_word();
      word += c;
      if (is(punctuation, c)) end_word();
    }
    if (alone) end_word();
  }
  end_word();
}

// The longest piece that the word begins with, then the longest of the rest, whose names begin with
// "##"; a word that cannot be made of pieces is unknown as a whole.
void WordPiece::add_pieces(const std::u32string& word, std::vector<int>& ids) const {
  constexpr std::size_t longest_word = 100;
  std::vector<int> pieces;
  std::size_t begin = 0;
  while (begin < word.size() && word.size() <= longest_word) {
    std::string name = begin > 0 ? "##" : "";
    std::size_t end = begin;
    int piece = -1;
    for (std::size_t i = begin; i < word.size(); ++i) {
      append(name, word[i]);
      const auto found = numbers_.find(name);
      if (found == numbers_.end()) continue;
      piece = found->second;
      end = i + 1;
    }
    if (piece < 0) break;
    pieces.push_back(piece);
    begin = end;
  }
  if (begin < word.size()) pieces = {unknown_};
  ids.insert(ids.end(), pieces.begin(), pieces.end());
}

}  // namespace engine
