// The suites' own tools: number conversions, canaries and error measures find what they are there
// to find.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "support/compare.hpp"
#include "support/number.hpp"
#include "support/setting.hpp"

namespace postlude {
namespace test {
namespace {

TEST(Support, EverySixteenBitNumberSurvivesDecodingAndEncoding) {
  for (DType dtype : {DType::bf16, DType::f16}) {
    for (std::uint32_t bits = 0; bits < 65536; ++bits) {
      const std::uint16_t before = static_cast<std::uint16_t>(bits);
      std::uint16_t after = 0;
      const double value = decode(dtype, &before);
      if (std::isnan(value)) continue;
      encode(dtype, value, &after);
      ASSERT_EQ(before, after) << short_name(dtype);
    }
  }
}

TEST(Support, RoundsToNearestEven) {
  EXPECT_EQ(round_to(DType::bf16, 257.0), 256.0);
  EXPECT_EQ(round_to(DType::bf16, 259.0), 260.0);
  EXPECT_EQ(round_to(DType::bf16, 257.0001), 258.0);
  EXPECT_EQ(round_to(DType::f16, 2049.0), 2048.0);
  EXPECT_EQ(round_to(DType::f16, 65519.0), 65504.0);
  EXPECT_EQ(round_to(DType::f16, 65520.0), std::numeric_limits<double>::infinity());
  EXPECT_EQ(round_to(DType::f16, std::ldexp(1.0, -25)), 0.0);
  EXPECT_EQ(round_to(DType::f16, std::ldexp(1.5, -25)), std::ldexp(1.0, -24));
  EXPECT_EQ(round_to(DType::i8, 2.5), 2.0);
  Random random(3);
  for (int i = 0; i < 10000; ++i) {
    const double value =
        random.normal() * std::ldexp(1.0, static_cast<int>(random.integer(-150, 120)));
    ASSERT_EQ(round_to(DType::f32, value), static_cast<double>(static_cast<float>(value)));
  }
}

TEST(Support, CanariesNoticeOneByte) {
  for (const Device& device : devices()) {
    const Tensor t = tensor(device, DType::bf16, {2, 3}, {1, 2, 3, 4, 5, 6});
    Tensor gaps(device, DType::bf16, padded({2, 3}, 1));
    gaps.set({1, 2, 3, 4, 5, 6});
    char* data = static_cast<char*>(gaps.view().data());
    const char byte = 1;
    EXPECT_TRUE(gaps.unchanged() && gaps.canaries_intact());
    copy_to_device(device, data + 2, &byte, 1);
    EXPECT_FALSE(gaps.unchanged()) << "an element";
    EXPECT_TRUE(gaps.canaries_intact());
    copy_to_device(device, data + 7, &byte, 1);
    EXPECT_FALSE(gaps.canaries_intact()) << "between the rows";
    EXPECT_TRUE(t.unchanged());
  }
}

TEST(Support, TensorsFollowTheirStrides) {
  Tensor t(Device{}, DType::f32, {{2, 3}, {-4, 1}, 0});
  t.set({1, 2, 3, 4, 5, 6});
  const float* data = static_cast<const float*>(t.view().data());
  EXPECT_EQ(data[2], 3.0f);
  EXPECT_EQ(data[-4], 4.0f);
  EXPECT_TRUE(std::isnan(data[-1]));
  EXPECT_EQ(t.get(), (std::vector<double>{1, 2, 3, 4, 5, 6}));
}

TEST(Support, ErrorsAreMeasuredAndSpecialsMustMatch) {
  const double nan = std::nan(""), infinity = HUGE_VAL;
  const Error error = error_of({3.0, 4.5}, {3.0, 4.0});
  EXPECT_DOUBLE_EQ(error.frobenius, 0.1);
  EXPECT_DOUBLE_EQ(error.worst, 0.125);
  EXPECT_TRUE(close({1.0, nan, infinity}, {1.0, nan, infinity}, {0.0}));
  EXPECT_FALSE(close({1.0, nan}, {1.0, 2.0}, {1.0}));
  EXPECT_FALSE(close({1.0, infinity}, {1.0, -infinity}, {1.0}));
  EXPECT_FALSE(close({1.0, 1e-30}, {1.0}, {1.0})) << "another size";
  EXPECT_FALSE(close({1e-30}, {0.0}, {1.0})) << "something instead of nothing";
  const Tensor two = tensor(Device{}, DType::bf16, {1}, {258.0});
  EXPECT_TRUE(rounded_once(two, {1, 1, {257.5}}, 0.0));
  EXPECT_FALSE(rounded_once(two, {1, 1, {256.9}}, 0.0));
  EXPECT_TRUE(rounded_once(two, {1, 1, {256.9}}, 0.2));
}

}  // namespace
}  // namespace test
}  // namespace postlude
