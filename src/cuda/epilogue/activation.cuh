// The activations on the GPU, in fp32.
//
// Each is accurate to 2^-20 |x| and keeps its relative accuracy in the negative tail, because none
// subtracts two numbers that are nearly equal. NaN gives NaN; infinities give what PyTorch gives.
#pragma once

#include "postlude/activation.hpp"

namespace postlude {
namespace detail {
namespace cuda {

// x / (1 + exp(-t)) = x * sigmoid(t). __fdividef is off by 2 ulp at most, and 0 where the divisor
// is over 2^126.
__device__ inline float times_sigmoid(float x, float t) { return __fdividef(x, 1.0f + expf(-t)); }

__device__ inline float relu(float x) { return x < 0.0f ? 0.0f : x; }

__device__ inline float relu2(float x) { return relu(x) * relu(x); }

// 1 + erf(u) = erfc(-u) has no cancellation for negative u.
__device__ inline float gelu_erf(float x) {
  constexpr float sqrt_half = 0.70710678118654752f;
  return 0.5f * x * erfcf(-sqrt_half * x);
}

// (1 + tanh(u)) / 2 = sigmoid(2 u).
__device__ inline float gelu_tanh(float x) {
  constexpr float twice_sqrt_2_over_pi = 1.5957691216057308f;
  return times_sigmoid(x, twice_sqrt_2_over_pi * x * fmaf(0.044715f * x, x, 1.0f));
}

__device__ inline float quick_gelu(float x) { return times_sigmoid(x, 1.702f * x); }

__device__ inline float silu(float x) { return times_sigmoid(x, x); }

template <int Width, class Function>
__device__ inline void apply(float (&values)[Width], Function&& function) {
#pragma unroll
  for (int i = 0; i < Width; ++i) values[i] = function(values[i]);
}

// values = act(values): one uniform branch for the run.
template <int Width>
__device__ inline void activate(Activation activation, float (&values)[Width]) {
  switch (activation) {
    case Activation::none:
      return;
    case Activation::relu:
      return apply(values, [](float x) { return relu(x); });
    case Activation::gelu_erf:
      return apply(values, [](float x) { return gelu_erf(x); });
    case Activation::gelu_tanh:
      return apply(values, [](float x) { return gelu_tanh(x); });
    case Activation::quick_gelu:
      return apply(values, [](float x) { return quick_gelu(x); });
    case Activation::silu:
      return apply(values, [](float x) { return silu(x); });
    case Activation::relu2:
      return apply(values, [](float x) { return relu2(x); });
  }
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
