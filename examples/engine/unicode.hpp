// UTF-8, and the classes of characters that BERT's uncased tokenizers tell apart.
#pragma once

#include <string>

namespace engine {

// The characters of a text; what is no UTF-8 becomes U+FFFD.
std::u32string decode(const std::string& text);
// Appends a character in UTF-8.
void append(std::string& text, char32_t c);

bool is_space(char32_t c);
// Whether each stands for a word of its own.
bool is_punctuation(char32_t c);
bool is_ideograph(char32_t c);
// The character in lower case and without accents: usually one, several where parts remain, and
// none for a control or a mark.
std::u32string fold(char32_t c);

}  // namespace engine
