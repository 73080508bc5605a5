// The activations on the GPU, in fp32.
//
// Each is accurate to 2^-20 |x| and keeps its relative accuracy in the negative tail, because none
// subtracts two numbers that are nearly equal. NaN gives NaN; infinities give what PyTorch gives.
#pragma once

#include <type_traits>

#include "postlude/activation.hpp"

namespace postlude {
namespace detail {
namespace cuda {

// 2^x and 1 / x, off by 2 ulp at most; results below 2^-126 are 0.
__device__ inline float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ inline float fast_reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// x / (1 + exp(-t)) = x * sigmoid(t). Rounding t / log(2) costs exp |t| ulp, which the sum and the
// tail's own size make small.
__device__ inline float times_sigmoid(float x, float t) {
  constexpr float log2_e = 1.4426950408889634f;
  return x * fast_reciprocal(1.0f + fast_exp2(-log2_e * t));
}

__device__ inline float relu(float x) { return x < 0.0f ? 0.0f : x; }

__device__ inline float relu2(float x) { return relu(x) * relu(x); }

// x / 2 * erfc(-x / sqrt(2)), which has no cancellation for negative x. erfc(z) = exp(-z^2) t P(t)
// for z >= 0, t = 1 / (1 + 0.45 z); P is a minimax fit of degree 7, off by 3e-7 of the value at
// most.
__device__ inline float gelu_erf(float x) {
  const float t = fast_reciprocal(fmaf(0.318198052f, fabsf(x), 1.0f));
  float p = 0.06643298018f;
  p = fmaf(p, t, -0.23837776230f);
  p = fmaf(p, t, 0.20542662929f);
  p = fmaf(p, t, 0.04357641662f);
  p = fmaf(p, t, 0.18683812304f);
  p = fmaf(p, t, 0.22864608887f);
  p = fmaf(p, t, 0.25354269164f);
  p = fmaf(p, t, 0.25391517931f);
  const float tail = p * t * fast_exp2(-0.721347520f * x * x);
  return 0.5f * x * (x < 0.0f ? tail : 2.0f - tail);
}

// (1 + tanh(u)) / 2 = sigmoid(2 u).
__device__ inline float gelu_tanh(float x) {
  constexpr float twice_sqrt_2_over_pi = 1.5957691216057308f;
  return times_sigmoid(x, twice_sqrt_2_over_pi * x * fmaf(0.044715f * x, x, 1.0f));
}

__device__ inline float quick_gelu(float x) { return times_sigmoid(x, 1.702f * x); }

__device__ inline float silu(float x) { return times_sigmoid(x, x); }

template <Activation Name>
__device__ inline float activated(float x) {
  if constexpr (Name == Activation::relu) return relu(x);
  if constexpr (Name == Activation::gelu_erf) return gelu_erf(x);
  if constexpr (Name == Activation::gelu_tanh) return gelu_tanh(x);
  if constexpr (Name == Activation::quick_gelu) return quick_gelu(x);
  if constexpr (Name == Activation::silu) return silu(x);
  if constexpr (Name == Activation::relu2) return relu2(x);
  return x;
}

// Calls function(std::integral_constant<Activation, ...>): one uniform branch.
template <class Function>
__device__ inline void with_activation(Activation activation, Function&& function) {
  using A = Activation;
  switch (activation) {
    case A::none:
      return function(std::integral_constant<A, A::none>{});
    case A::relu:
      return function(std::integral_constant<A, A::relu>{});
    case A::gelu_erf:
      return function(std::integral_constant<A, A::gelu_erf>{});
    case A::gelu_tanh:
      return function(std::integral_constant<A, A::gelu_tanh>{});
    case A::quick_gelu:
      return function(std::integral_constant<A, A::quick_gelu>{});
    case A::silu:
      return function(std::integral_constant<A, A::silu>{});
    case A::relu2:
      return function(std::integral_constant<A, A::relu2>{});
  }
}

// values = act(values).
template <int Width>
__device__ inline void activate(Activation activation, float (&values)[Width]) {
  with_activation(activation, [&](auto name) {
#pragma unroll
    for (int i = 0; i < Width; ++i) values[i] = activated<decltype(name)::value>(values[i]);
  });
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
