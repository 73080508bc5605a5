// Chunks of 64 elements between memory of any dtype and fp32 in registers or L1, rounding to
// nearest even.
#pragma once

#include <cstdint>
#include <cstring>

#include "postlude/tensor_view.hpp"

#if defined(__F16C__)
#include <immintrin.h>
#endif

// Everything here has internal linkage: this header is compiled once an instruction set, and a
// shared inline function would let the linker keep the wrong copy.
namespace postlude {
namespace detail {
namespace {

constexpr int chunk = 64;

inline float bits_to_float(std::uint32_t u) {
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}
inline std::uint32_t float_to_bits(float f) {
  std::uint32_t u;
  std::memcpy(&u, &f, 4);
  return u;
}

// Copies a chunk. A memcpy of this size becomes `rep movs`, which waits for the stores before it.
inline void copy_chunk(const float* src, float* dst) {
  for (int i = 0; i < chunk; ++i) dst[i] = src[i];
}

inline void bf16_to_float(const std::uint16_t* src, float* dst) {
  for (int i = 0; i < chunk; ++i) dst[i] = bits_to_float(static_cast<std::uint32_t>(src[i]) << 16);
}

inline void float_to_bf16(const float* src, std::uint16_t* dst) {
  for (int i = 0; i < chunk; ++i) {
    const std::uint32_t u = float_to_bits(src[i]);
    const std::uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    dst[i] = static_cast<std::uint16_t>(nan ? (u >> 16) | 0x40u : rounded);
  }
}

#if defined(__F16C__)
inline void f16_to_float(const std::uint16_t* src, float* dst) {
  for (int i = 0; i < chunk; i += 8) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(src + i));
    _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(half));
  }
}
inline void float_to_f16(const float* src, std::uint16_t* dst) {
  for (int i = 0; i < chunk; i += 8) {
    const __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + i), half);
  }
}
#else
inline void f16_to_float(const std::uint16_t* src, float* dst) {
  for (int i = 0; i < chunk; ++i) {
    const std::uint32_t h = src[i];
    const std::uint32_t sign = (h & 0x8000u) << 16;
    const std::uint32_t body = h & 0x7fffu;
    const float subnormal = static_cast<float>(body) * 5.9604644775390625e-8f;  // 2^-24
    std::uint32_t u = (body << 13) + 0x38000000u;
    if (body >= 0x7c00u) u += 0x38000000u;
    if (body < 0x0400u) u = float_to_bits(subnormal);
    dst[i] = bits_to_float(u | sign);
  }
}
inline void float_to_f16(const float* src, std::uint16_t* dst) {
  for (int i = 0; i < chunk; ++i) {
    const std::uint32_t u = float_to_bits(src[i]);
    const std::uint32_t sign = (u >> 16) & 0x8000u;
    const std::uint32_t body = u & 0x7fffffffu;
    const std::uint32_t normal = (body - 0x38000000u + 0x0fffu + ((body >> 13) & 1u)) >> 13;
    // Adding 0.5 leaves the subnormal's 2^-24 steps, rounded to even, in the low mantissa bits.
    const std::uint32_t subnormal = float_to_bits(bits_to_float(body) + 0.5f) - 0x3f000000u;
    std::uint32_t h = body < 0x38800000u ? subnormal : normal;
    if (body >= 0x47800000u) h = body > 0x7f800000u ? 0x7e00u : 0x7c00u;
    dst[i] = static_cast<std::uint16_t>(h | sign);
  }
}
#endif

// dst[0..63] = src[0..count-1] as fp32; the elements past count are 0.
inline void load_chunk(const void* src, DType dtype, float* dst, int count) {
  alignas(64) char padded[chunk * 4];
  if (count < chunk) {
    std::memset(padded, 0, sizeof padded);
    std::memcpy(padded, src, static_cast<std::size_t>(count) * size_of(dtype));
    src = padded;
  }
  switch (dtype) {
    case DType::f32:
      copy_chunk(static_cast<const float*>(src), dst);
      break;
    case DType::bf16:
      bf16_to_float(static_cast<const std::uint16_t*>(src), dst);
      break;
    case DType::f16:
      f16_to_float(static_cast<const std::uint16_t*>(src), dst);
      break;
    case DType::i8: {
      const auto* bytes = static_cast<const std::int8_t*>(src);
      for (int i = 0; i < chunk; ++i) dst[i] = static_cast<float>(bytes[i]);
      break;
    }
  }
}

// dst[0..count-1] = src[0..count-1] rounded to dtype (f32, bf16 or f16).
inline void store_chunk(const float* src, void* dst, DType dtype, int count) {
  alignas(64) char padded[chunk * 4];
  void* target = count < chunk ? padded : dst;
  switch (dtype) {
    case DType::f32:
      copy_chunk(src, static_cast<float*>(target));
      break;
    case DType::bf16:
      float_to_bf16(src, static_cast<std::uint16_t*>(target));
      break;
    default:
      float_to_f16(src, static_cast<std::uint16_t*>(target));
      break;
  }
  if (count < chunk) std::memcpy(dst, padded, static_cast<std::size_t>(count) * size_of(dtype));
}

// Adds 64 lanes in a fixed order, halves onto halves; the lanes are spent.
inline float fold_lanes(float* lanes) {
  for (int i = 0; i < 32; ++i) lanes[i] += lanes[i + 32];
  for (int i = 0; i < 16; ++i) lanes[i] += lanes[i + 16];
  for (int i = 0; i < 8; ++i) lanes[i] += lanes[i + 8];
  for (int i = 0; i < 4; ++i) lanes[i] += lanes[i + 4];
  return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
}

}  // namespace
}  // namespace detail
}  // namespace postlude
