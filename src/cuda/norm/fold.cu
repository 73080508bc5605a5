// Folding a norm into a weight: the rounded products with the norm's weight, and two sums of each
// row in double precision.
#include <algorithm>

#include "cuda/device.hpp"
#include "cuda/launch.cuh"
#include "cuda/norm/fold.hpp"
#include "cuda/operands.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace {

constexpr int threads = 256;

struct FoldArgs {
  std::int64_t n = 0;
  std::int64_t k = 0;
  const void* weight = nullptr;  // (n, k), contiguous
  VectorArg norm_weight, norm_bias;
  float weight_offset = 0.0f;
  void* folded = nullptr;    // as weight; absent where the norm scales nothing
  float* col_sum = nullptr;  // (n,)
  float* shift = nullptr;    // (n,), absent where the norm has no bias
  int* unfit = nullptr;      // becomes 1 where a row does not stand the rounding
};

// What one row of the weight adds up to.
struct RowSums {
  double folded = 0.0;
  double shift = 0.0;
  double energy = 0.0;  // of the products
  double lost = 0.0;    // of what rounding took from products below the normal range

  template <class Function>
  __device__ void for_each(Function&& f) {
    f(folded);
    f(shift);
    f(energy);
    f(lost);
  }
};

__device__ inline float element(const VectorArg& vector, std::int64_t index, float otherwise) {
  if (!vector.present()) return otherwise;
  float value[1];
  vector.load_floats(index, 1, value);
  return value[0];
}

// Rounding to nearest loses up to half a unit of the last place of normal numbers, but any part of
// smaller ones: that may be a quarter of the former over a row, no more. What overflows, or is not
// finite to begin with, does not compare.
template <class T>
__device__ inline bool stands(const RowSums& s) {
  constexpr double half_unit = sizeof(T) == 4                ? 0x1p-24
                               : dtype_of<T>() == DType::f16 ? 0x1p-11
                                                             : 0x1p-8;
  return s.lost <= half_unit * half_unit / 16 * s.energy && s.energy < 1e300 &&
         fabs(s.folded) < 1e300;
}

template <class T>
__global__ void __launch_bounds__(threads) fold(const __grid_constant__ FoldArgs a) {
  constexpr float least_normal = dtype_of<T>() == DType::f16 ? 0x1p-14f : 0x1p-126f;
  __shared__ RowSums of_warp[threads / 32];
  release_successor();
  await_predecessor();
  for (std::int64_t n = blockIdx.x; n < a.n; n += gridDim.x) {
    RowSums sums;
    for (std::int64_t k = threadIdx.x; k < a.k; k += threads) {
      const float w = to_float(static_cast<const T*>(a.weight)[n * a.k + k]);
      const float product = w * (element(a.norm_weight, k, 1.0f) + a.weight_offset);
      const T rounded = from_float<T>(product);
      if (a.folded != nullptr) static_cast<T*>(a.folded)[n * a.k + k] = rounded;
      const double difference = static_cast<double>(to_float(rounded)) - product;
      sums.folded += to_float(rounded);
      sums.shift += static_cast<double>(w) * element(a.norm_bias, k, 0.0f);
      sums.energy += static_cast<double>(product) * product;
      if (fabsf(product) < least_normal) sums.lost += difference * difference;
    }
    sums.for_each([](double& sum) {
#pragma unroll
      for (int distance = 16; distance > 0; distance /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, distance);
      }
    });
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sums;
    __syncthreads();
    if (threadIdx.x == 0) {
      for (int w = 1; w < threads / 32; ++w) {
        sums.folded += of_warp[w].folded;
        sums.shift += of_warp[w].shift;
        sums.energy += of_warp[w].energy;
        sums.lost += of_warp[w].lost;
      }
      if (a.col_sum != nullptr) a.col_sum[n] = static_cast<float>(sums.folded);
      if (a.shift != nullptr) a.shift[n] = static_cast<float>(sums.shift);
      if (!stands<T>(sums)) *a.unfit = 1;
    }
    __syncthreads();
  }
}

constexpr std::int64_t shortest_row = 64;

// Whether rounded products are as good as the norm's rounded result for weights of this kind.
const char* fold_refusal(const WeightState& state) {
  if (state.operand.packed != nullptr) return "the weight is packed for one kernel";
  if (state.operand.dtype == DType::f32) return "float32 norms run by themselves, exactly";
  if (state.n == 0 || state.k == 0) return "the weight is empty";
  // The spread of so short a row may be tiny beside its mean, which only the exact norm survives.
  if (state.k < shortest_row) return "its rows have fewer than 64 columns";
  return nullptr;
}

}  // namespace

void fold_norm(WeightState& state, const Norm& norm, ContextState& context) {
  FoldedNorm& f = state.folded;
  f.refusal = fold_refusal(state);
  if (f.refusal != nullptr) return;
  const cudaStream_t stream = stream_of(context);
  const auto vector_of = [](const TensorView& view) {
    return vector_arg(Vector{view.data(), view.dtype(), static_cast<bool>(view), false});
  };
  const bool layer = norm.kind == NormKind::layer;
  FoldArgs a;
  a.n = state.n;
  a.k = state.k;
  a.weight = state.operand.data;
  a.norm_weight = vector_of(norm.weight);
  if (layer) a.norm_bias = vector_of(norm.bias);
  a.weight_offset = layer ? 0.0f : norm.weight_offset;
  const bool scales = norm.weight || a.weight_offset != 0.0f;
  // One allocation holds the products, both vectors and the answer.
  const std::size_t products =
      scales ? align_up(static_cast<std::size_t>(a.n * a.k) * size_of(state.operand.dtype)) : 0;
  const std::size_t vectors = align_up(static_cast<std::size_t>(a.n) * sizeof(float));
  const std::size_t bytes = products + 2 * vectors + sizeof(int);
  const std::shared_ptr<void> memory = context.backend->allocate(bytes, state.device);
  char* base = static_cast<char*>(memory.get());
  if (scales) a.folded = base;
  if (layer) a.col_sum = reinterpret_cast<float*>(base + products);
  if (layer && norm.bias) a.shift = reinterpret_cast<float*>(base + products + vectors);
  a.unfit = reinterpret_cast<int*>(base + products + 2 * vectors);
  check(cudaMemsetAsync(a.unfit, 0, sizeof(int), stream), "cudaMemsetAsync");
  const LaunchShape shape{grid_of(a.n), threads, stream};
  dispatch_type(state.operand.dtype,
                [&](auto type) { launch("cuda.fold", fold<decltype(type)>, shape, a); });
  int unfit = 0;
  check(cudaMemcpyAsync(&unfit, a.unfit, sizeof(int), cudaMemcpyDeviceToHost, stream),
        "cudaMemcpyAsync");
  context.backend->synchronize(context);
  if (unfit != 0) {
    f.refusal = "products of the two weights are too small or too large for the dtype";
    return;
  }
  f.kind = norm.kind;
  f.operand = state.operand;
  if (scales) f.operand.data = a.folded;
  f.col_sum = a.col_sum;
  f.shift = a.shift;
  f.eps = norm.eps;
  f.weight_offset = norm.weight_offset;
  f.norm_weight = norm.weight.data();
  f.norm_bias = norm.bias.data();
  f.norm_weight_dtype = norm.weight.dtype();
  f.norm_bias_dtype = norm.bias.dtype();
  state.storage.push_back(memory);
  state.bytes += bytes;
}

void load_fold() {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    dispatch_type(dtype, [](auto type) { load_kernel(fold<decltype(type)>); });
  }
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
