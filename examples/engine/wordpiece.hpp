// WordPiece: a text as the numbers of pieces of words, as BERT's uncased models were trained on.
#pragma once

#include <cstddef>
#include <string>
#include <unordered_map>
#include <vector>

namespace engine {

class WordPiece {
 public:
  // The vocabulary: a piece a line, numbered from 0. Throws std::runtime_error where the file
  // cannot be read or lacks [UNK], [CLS] or [SEP].
  explicit WordPiece(const std::string& vocabulary);

  // [CLS], the text's pieces and [SEP]: at most `most` numbers, of which the text's first are kept.
  std::vector<int> encode(const std::string& text, std::size_t most) const;

 private:
  int number(const std::string& piece) const;
  void add_words(const std::string& text, std::vector<int>& ids) const;
  void add_pieces(const std::u32string& word, std::vector<int>& ids) const;

  std::unordered_map<std::string, int> numbers_;
  int unknown_ = 0, start_ = 0, end_ = 0;
};

}  // namespace engine
