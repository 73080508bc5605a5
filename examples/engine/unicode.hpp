// UTF-8, and the classes of characters that BERT's uncased tokenizers tell apart.
#pragma once

#include <string>

namespace engine {

// The characters of a text; what is no UTF-8 becomes U+FFFD.
std::u32string decode(const std::string& text);
// Appends a character in UTF-8.
void append(std::string& text, char32_t c);

// Blanks end a word; a punctuation mark or an ideograph is one by itself.
enum Kind { space, punctuation, ideograph };
bool is(Kind kind, char32_t c);

// The character in lower case and without accents: usually one, several where parts remain, and
// none for a control or a mark.
std::u32string fold(char32_t c);

}  // namespace engine
