// Conversions of numbers: see number.hpp.
#include "support/number.hpp"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace postlude {
namespace test {

namespace {

// Significant bits (the implicit one included), the exponent of the smallest subnormal and the
// largest finite value.
struct Format {
  int bits;
  int smallest;
  double largest;
};

Format format_of(DType dtype) {
  switch (dtype) {
    case DType::bf16:
      return {8, -133, 3.3895313892515355e38};
    case DType::f16:
      return {11, -24, 65504.0};
    default:
      return {24, -149, static_cast<double>(std::numeric_limits<float>::max())};
  }
}

}  // namespace

// 127].
double round_to(DType dtype, double x) {
  if (dtype == DType::i8) return std::fmin(std::fmax(std::nearbyint(x), -128.0), 127.0);
  if (!std::isfinite(x) || x == 0.0) return x;
  const Format format = format_of(dtype);
  int exponent = 0;
  std::frexp(x, &exponent);
  const int ulp =
      exponent - format.bits > format.smallest ? exponent - format.bits : format.smallest;
  const double rounded = std::ldexp(std::nearbyint(std::ldexp(x, -ulp)), ulp);
  if (std::fabs(rounded) > format.largest) {
    return std::copysign(std::numeric_limits<double>::infinity(), x);
  }
  return rounded;
}

double decode(DType dtype, const void* bytes) {
  if (dtype == DType::i8) {
    std::int8_t value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
  }
  if (dtype == DType::f32) {
    float value;
    std::memcpy(&value, bytes, sizeof value);
    return static_cast<double>(value);
  }
  std::uint16_t bits;
  std::memcpy(&bits, bytes, sizeof bits);
  if (dtype == DType::bf16) {
    const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &wide, sizeof value);
    return static_cast<double>(value);
  }
  const double sign = (bits & 0x8000u) != 0 ? -1.0 : 1.0;
  const int exponent = (bits >> 10) & 0x1f;
  const double fraction = bits & 0x3ffu;
  if (exponent == 31) {
    if (fraction != 0) return std::numeric_limits<double>::quiet_NaN();
    return sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024.0 + fraction, exponent - 25);
}

void encode(DType dtype, double x, void* bytes) {
  const double rounded = round_to(dtype, x);
  if (dtype == DType::i8) {
    const std::int8_t value = static_cast<std::int8_t>(rounded);
    std::memcpy(bytes, &value, sizeof value);
    return;
  }
  if (dtype != DType::f16) {
    const float value = static_cast<float>(rounded);  // exact
    std::uint32_t wide;
    std::memcpy(&wide, &value, sizeof wide);
    const std::uint16_t high = static_cast<std::uint16_t>(wide >> 16);
    if (dtype == DType::f32) {
      std::memcpy(bytes, &value, sizeof value);
    } else {
      std::memcpy(bytes, &high, sizeof high);
    }
    return;
  }
  std::uint16_t bits = std::signbit(rounded) ? 0x8000 : 0;
  const double size = std::fabs(rounded);
  if (std::isnan(size)) {
    bits = 0x7e00;
  } else if (std::isinf(size)) {
    bits = static_cast<std::uint16_t>(bits | 0x7c00);
  } else if (size >= std::ldexp(1.0, -14)) {
    int exponent = 0;
    const double fraction = std::frexp(size, &exponent);  // in [0.5, 1)
    const int mantissa = static_cast<int>(std::ldexp(fraction, 11)) & 0x3ff;
    bits = static_cast<std::uint16_t>(bits | ((exponent + 14) << 10) | mantissa);
  } else {
    bits = static_cast<std::uint16_t>(bits | static_cast<int>(std::ldexp(size, 24)));
  }
  std::memcpy(bytes, &bits, sizeof bits);
}

}  // namespace test
}  // namespace postlude
