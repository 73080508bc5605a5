// A parser of JSON by recursive descent.
#include "json.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <stdexcept>

#include "unicode.hpp"

namespace engine {
namespace {

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  Json value(int depth = 0) {
    Json result;
    result.kind = next();
    if (depth > 16) fail("less nesting");
    if (result.kind == '"') {
      result.text = string();
    } else if (result.kind == '{' || result.kind == '[') {
      ++at_;
      const char close = result.kind == '{' ? '}' : ']';
      for (bool first = true; next() != close; first = false) {
        if (!first) take(',');
        std::string name;
        if (result.kind == '{') {
          name = string();
          take(':');
        }
        result.members.emplace_back(std::move(name), value(depth + 1));
      }
      ++at_;
    } else {
      const std::size_t end = text_.find_first_not_of("+-.0123456789Eaeflnrstu", at_);
      const std::string word = text_.substr(at_, end - at_);
      if (word != "true" && word != "false" && word != "null") {
        char* rest = nullptr;
        result.number = std::strtod(word.c_str(), &rest);
        const bool digit = word.find_first_of("0123456789") <= (word[0] == '-' ? 1u : 0u);
        if (!digit || *rest != '\0') fail("a value");
        result.kind = '0';
      }
      at_ += word.size();
    }
    return result;
  }

  void end() {
    next();
    if (at_ < text_.size()) fail("the end");
  }

 private:
  [[noreturn]] void fail(const std::string& expected) const {
    throw std::runtime_error("JSON: expected " + expected + " at byte " + std::to_string(at_));
  }

  // The next character that is no blank; the terminating 0 at the end of the text.
  char next() {
    at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size());
    return text_[at_];
  }

  void take(char wanted) {
    if (next() != wanted) fail(std::string("'") + wanted + "'");
    ++at_;
  }

  std::string string() {
    take('"');
    std::string result;
    for (; text_[at_] != '"'; ++at_) {
      if (static_cast<unsigned char>(text_[at_]) < 0x20) fail("the end of a string");
      if (text_[at_] != '\\') {
        result += text_[at_];
      } else if (text_[++at_] == 'u') {  // halves of a pair become two unknown characters
        char32_t c = 0;
        for (int digit = 0; digit < 4; ++digit) {
          const auto value = std::string("0123456789abcdefABCDEF").find(text_[++at_]);
          if (value == std::string::npos) fail("a hexadecimal digit");
          c = c << 4 | static_cast<char32_t>(value < 16 ? value : value - 6);
        }
        append(result, c >> 11 == 0x1B ? U'\uFFFD' : c);
      } else {
        const std::string from = "\"\\/bfnrt", to = "\"\\/\b\f\n\r\t";
        const auto found = from.find(text_[at_]);
        if (found == std::string::npos) fail("an escape");
        result += to[found];
      }
    }
    ++at_;
    return result;
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

}  // namespace

const Json& Json::operator[](const std::string& name) const {
  for (const auto& member : expect('{').members) {
    if (member.first == name) return member.second;
  }
  throw std::runtime_error("JSON: expected '" + name + "'");
}

const Json& Json::expect(char wanted) const {
  if (kind != wanted) {
    throw std::runtime_error(std::string("JSON: expected ") + (wanted == '{'   ? "an object"
                                                               : wanted == '[' ? "an array"
                                                               : wanted == '"' ? "a string"
                                                                               : "a number"));
  }
  return *this;
}

std::int64_t Json::integer() const {
  expect('0');
  if (number < 0.0 || number > 0x1p53 || number != std::floor(number)) {
    throw std::runtime_error("JSON: expected a whole number from 0 to 2^53");
  }
  return static_cast<std::int64_t>(number);
}

Json parse_json(const std::string& text) {
  Parser parser(text);
  Json result = parser.value();
  parser.end();
  return result;
}

}  // namespace engine
