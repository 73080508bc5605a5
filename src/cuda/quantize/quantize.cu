// Symmetric int8 quantisation: the largest magnitude of each group, its scale, and the rounded
// quotients.
#include "cuda/quantize/quantize.hpp"

#include <algorithm>

#include "cuda/convert.cuh"
#include "cuda/launch.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace {

constexpr int threads = 256;
constexpr std::int64_t slice_elements = 64 * 1024;  // what one block looks at

// A group is group_rows by group_columns; groups_a_row of them lie side by side.
struct QuantizeArgs {
  const void* weight = nullptr;
  std::int64_t stride_n = 0;
  std::int64_t stride_k = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t group_rows = 0;
  std::int64_t group_columns = 0;
  std::int64_t groups_a_row = 0;
  std::int64_t groups = 0;
  std::int64_t slices = 1;  // of a group
  float* scales = nullptr;
  std::int8_t* q = nullptr;
};

template <class T>
__device__ float element(const QuantizeArgs& a, std::int64_t n, std::int64_t k) {
  return to_float(static_cast<const T*>(a.weight)[n * a.stride_n + k * a.stride_k]);
}

// scales[g] = max |w| of group g. Magnitudes are ordered as their bits are, NaN above all, and a
// maximum does not depend on the order in which it is taken.
template <class T>
__global__ void __launch_bounds__(threads) largest(const __grid_constant__ QuantizeArgs a) {
  release_successor();
  await_predecessor();
  for (std::int64_t t = blockIdx.x; t < a.groups * a.slices; t += gridDim.x) {
    const std::int64_t group = t / a.slices;
    const std::int64_t row0 = group / a.groups_a_row * a.group_rows;
    const std::int64_t column0 = group % a.groups_a_row * a.group_columns;
    const std::int64_t size = a.group_rows * a.group_columns;
    unsigned bits = 0;
    for (std::int64_t i = t % a.slices * threads + threadIdx.x; i < size; i += a.slices * threads) {
      const bool along_k = a.stride_k == 1;
      const std::int64_t row = along_k ? i / a.group_columns : i % a.group_rows;
      const std::int64_t column = along_k ? i % a.group_columns : i / a.group_rows;
      bits = max(bits, __float_as_uint(fabsf(element<T>(a, row0 + row, column0 + column))));
    }
    bits = __reduce_max_sync(0xffffffffu, bits);
    if (threadIdx.x % 32 == 0) atomicMax(reinterpret_cast<unsigned*>(a.scales) + group, bits);
  }
}

__global__ void __launch_bounds__(threads) to_scales(const __grid_constant__ QuantizeArgs a) {
  release_successor();
  await_predecessor();
  for (std::int64_t t = blockIdx.x * std::int64_t{threads} + threadIdx.x; t < a.groups;
       t += gridDim.x * std::int64_t{threads}) {
    a.scales[t] = __fdiv_rn(a.scales[t], 127.0f);
  }
}

template <class T>
__global__ void __launch_bounds__(threads) round_quotients(const __grid_constant__ QuantizeArgs a) {
  release_successor();
  await_predecessor();
  for (std::int64_t t = blockIdx.x * std::int64_t{threads} + threadIdx.x; t < a.n * a.k;
       t += gridDim.x * std::int64_t{threads}) {
    const std::int64_t row = t / a.k;
    const std::int64_t column = t % a.k;
    const float scale = a.scales[row / a.group_rows * a.groups_a_row + column / a.group_columns];
    const float quotient = rintf(__fdiv_rn(element<T>(a, row, column), scale));
    // A NaN, as 0 / 0 is, gives 0.
    const float clamped = quotient > 127.0f ? 127.0f : quotient > -127.0f ? quotient : -127.0f;
    a.q[t] = quotient == quotient && scale != 0.0f ? static_cast<std::int8_t>(clamped) : 0;
  }
}

QuantizeArgs quantize_args(const TensorView& weight, const QuantizeOptions& options,
                           const TensorView& q, const TensorView& scales) {
  QuantizeArgs a;
  a.weight = weight.data();
  a.stride_n = weight.stride(0);
  a.stride_k = weight.stride(1);
  a.n = weight.size(0);
  a.k = weight.size(1);
  const bool rows = options.grouping == Grouping::rows;
  a.group_rows = rows ? a.n / options.groups : 1;
  a.group_columns = rows ? a.k : options.group_size;
  a.groups_a_row = rows ? 1 : a.k / options.group_size;
  a.groups = scales.numel();
  a.slices = std::max<std::int64_t>(
      1, (a.group_rows * a.group_columns + slice_elements - 1) / slice_elements);
  a.scales = static_cast<float*>(scales.data());
  a.q = static_cast<std::int8_t*>(q.data());
  return a;
}

}  // namespace

void quantize(const TensorView& weight, const QuantizeOptions& options, const TensorView& q,
              const TensorView& scales, cudaStream_t stream) {
  if (scales.numel() == 0) return;
  const QuantizeArgs a = quantize_args(weight, options, q, scales);
  check(cudaMemsetAsync(a.scales, 0, static_cast<std::size_t>(a.groups) * sizeof(float), stream),
        "cudaMemsetAsync");
  if (weight.numel() == 0) return;
  const auto elementwise = [&](std::int64_t items) {
    return LaunchShape{grid_of((items + threads - 1) / threads), threads, stream};
  };
  dispatch_type(weight.dtype(), [&](auto type) {
    using T = decltype(type);
    launch("cuda.quantize", largest<T>, {grid_of(a.groups * a.slices), threads, stream}, a);
    launch("cuda.quantize", to_scales, elementwise(a.groups), a);
    launch("cuda.quantize", round_quotients<T>, elementwise(a.n * a.k), a);
  });
}

void load_quantize() {
  load_kernel(to_scales);
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    dispatch_type(dtype, [](auto type) {
      using T = decltype(type);
      load_kernel(largest<T>);
      load_kernel(round_quotients<T>);
    });
  }
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
