// A reader of JSON for small files: values, and an error for what is none.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace engine {

struct Json {
  char kind = 'n';  // the first character: { [ " t f n, and 0 for every number
  double number = 0.0;
  std::string text;
  std::vector<std::pair<std::string, Json>> members;  // of an object, or nameless of an array

  // Each throws std::runtime_error where the value is no such thing.
  const Json& operator[](const std::string& name) const;
  const Json& expect(char wanted) const;  // itself, of this kind
  std::int64_t integer() const;           // 0 to 2^53
};

// Throws std::runtime_error with what was expected and where.
Json parse_json(const std::string& text);

}  // namespace engine
