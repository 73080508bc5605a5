// The activations over chunks of 64 fp32 values, accurate to a few ulp and free of cancellation in
// the tails.
#pragma once

#include "cpu/isa/convert.hpp"
#include "postlude/activation.hpp"

namespace postlude {
namespace detail {
namespace {

// 2^n for |n| <= 126.
inline float pow2(std::uint32_t n) { return bits_to_float((n + 127u) << 23); }

// e^y to about 1 ulp; overflows to inf, underflows to 0, keeps NaN. Range reduction y = n ln2 + r,
// |r| <= ln2 / 2, and a minimax polynomial of our own fit; 2^n is applied in two halves so that it
// never overflows by itself.
inline float exp_f32(float y) {
  constexpr float round_magic =
      12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low mantissa bits
  y = y < -150.0f ? -150.0f : y;
  y = y > 130.0f ? 130.0f : y;
  const float shifted = y * 1.44269504088896341f + round_magic;
  const float n = shifted - round_magic;
  float r = y - n * 0.693145751953125f;  // ln2, high part: exact product
  r = r - n * 1.42860676533018518e-06f;
  float p = 0.0013946446124464273f;
  p = p * r + 0.008369151502847672f;
  p = p * r + 0.04166626185178757f;
  p = p * r + 0.16666516661643982f;
  p = p * r + 0.5f;
  p = p * (r * r) + (r + 1.0f);
  const std::uint32_t steps = float_to_bits(shifted) - float_to_bits(round_magic);
  const std::uint32_t half = static_cast<std::uint32_t>(static_cast<std::int32_t>(steps) >> 1);
  return p * pow2(half) * pow2(steps - half);
}

// Upper tail of the normal distribution, Q(a) = erfc(a / sqrt2) / 2 for a >= 0, with small RELATIVE
// error: e^(-a^2/2) * t * P(t), t = 1 / (1 + 0.4 a / sqrt2), P a minimax fit of erfcx(a / sqrt2) /
// (2 t).
inline float normal_tail(float a) {
  const float t = 1.0f / (1.0f + 0.28284271247461901f * a);
  float p = -0.014552190899848938f;
  p = p * t + 0.09767641872167587f;
  p = p * t - 0.24627874791622162f;
  p = p * t + 0.26954931020736694f;
  p = p * t - 0.138718381524086f;
  p = p * t + 0.13417461514472961f;
  p = p * t + 0.06548166275024414f;
  p = p * t + 0.10732217133045197f;
  p = p * t + 0.11249251663684845f;
  p = p * t + 0.11285261064767838f;
  return exp_f32(-0.5f * a * a) * (t * p);
}

inline float relu_f32(float x) { return x < 0.0f ? 0.0f : x; }  // keeps NaN

inline float gelu_erf_f32(float x) {
  const float tail = normal_tail(x < 0.0f ? -x : x);
  return x * (x < 0.0f ? tail : 1.0f - tail);
}

inline float silu_f32(float x) { return x / (1.0f + exp_f32(-x)); }

inline float quick_gelu_f32(float x) { return x / (1.0f + exp_f32(-1.702f * x)); }

// x/2 (1 + tanh u) = x / (1 + e^(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3).
inline float gelu_tanh_f32(float x) {
  constexpr float two_root = 1.5957691216057308f;  // 2 sqrt(2/pi)
  const float u2 = two_root * x * (1.0f + 0.044715f * x * x);
  return x / (1.0f + exp_f32(-u2));
}

inline float relu2_f32(float x) {
  const float r = relu_f32(x);
  return r * r;
}

template <class F>
inline void map_chunk(float* z, F f) {
#pragma omp simd
  for (int i = 0; i < chunk; ++i) z[i] = f(z[i]);
}

inline void apply_activation(Activation activation, float* z) {
  switch (activation) {
    case Activation::none:
      break;
    case Activation::relu:
      map_chunk(z, [](float x) { return relu_f32(x); });
      break;
    case Activation::gelu_erf:
      map_chunk(z, [](float x) { return gelu_erf_f32(x); });
      break;
    case Activation::gelu_tanh:
      map_chunk(z, [](float x) { return gelu_tanh_f32(x); });
      break;
    case Activation::quick_gelu:
      map_chunk(z, [](float x) { return quick_gelu_f32(x); });
      break;
    case Activation::silu:
      map_chunk(z, [](float x) { return silu_f32(x); });
      break;
    case Activation::relu2:
      map_chunk(z, [](float x) { return relu2_f32(x); });
      break;
  }
}

}  // namespace
}  // namespace detail
}  // namespace postlude
