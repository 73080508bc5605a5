// Memo: values are those of the arguments asked for, whatever was asked before.
#include <gtest/gtest.h>

#include <cstdint>
#include <stdexcept>

#include "memo.hpp"

namespace postlude {
namespace test {
namespace {

using Small = detail::Memo<2, std::int64_t, 4>;

TEST(Memo, MakesAValueOnce) {
  Small memo;
  int made = 0;
  for (int i = 0; i < 3; ++i) {
    const std::int64_t value = memo.get({7, 8}, [&] {
      ++made;
      return 56;
    });
    EXPECT_EQ(value, 56);
  }
  EXPECT_EQ(made, 1);
}

// Far more arguments than places, again and again: each gets its own value.
TEST(Memo, ArgumentsThatShareAPlace) {
  Small memo;
  for (int round = 0; round < 3; ++round) {
    for (std::int64_t a = -20; a < 20; ++a) {
      for (std::int64_t b = 0; b < 20; ++b) {
        EXPECT_EQ(memo.get({a, b}, [&] { return 100 * a + b; }), 100 * a + b);
      }
    }
  }
}

TEST(Memo, KeepsNothingOfAFailure) {
  Small memo;
  const auto fail = []() -> std::int64_t { throw std::runtime_error("no value"); };
  EXPECT_THROW(memo.get({1, 2}, fail), std::runtime_error);
  EXPECT_EQ(memo.get({1, 2}, [] { return 3; }), 3);
  EXPECT_EQ(memo.get({1, 2}, fail), 3);
}

// All zeros are arguments like others, though an empty place holds the same.
TEST(Memo, Zeros) {
  Small memo;
  EXPECT_EQ(memo.get({0, 0}, [] { return 9; }), 9);
}

}  // namespace
}  // namespace test
}  // namespace postlude
