// The plain GEMM: a SIMT kernel that runs every dtype, shape, stride and alignment; the last
// resort.
#include <string>
#include <type_traits>

#include "cuda/convert.cuh"
#include "cuda/device.hpp"
#include "cuda/epilogue/epilogue.cuh"
#include "cuda/gemm/kernels.hpp"
#include "cuda/launch.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace {

// A block computes 64 rows by 64 slots (see epilogue.cuh), a thread 4 by 4 of them.
constexpr int tile = 64;
constexpr int per_thread = 4;
constexpr int tile_k = 16;
constexpr int threads = (tile / per_thread) * (tile / per_thread);
constexpr int loads = tile * tile_k / threads;
constexpr int pitch = tile + 4;  // keeps runs of 4 aligned, and spreads the stores over the banks
constexpr int tiles_a_partial =
    8;  // partial sums over 128 of k keep fp32's rounding from piling up

struct PlainArgs {
  const void* x = nullptr;
  std::int64_t x_stride = 0;
  const void* weight = nullptr;
  std::int64_t stride_n = 0;
  std::int64_t stride_k = 0;
  std::int64_t k = 0;
  const float* scales = nullptr;  // int8 only
  bool group_k = false;
  std::int64_t group = 1;
  std::int64_t groups_a_row = 0;  // where group_k
  std::int64_t tiles_n = 0;
  std::int64_t tiles = 0;
  EpilogueArgs epilogue;
};

template <class W>
__device__ float weight_at(const PlainArgs& a, std::int64_t n, std::int64_t k) {
  const W value = static_cast<const W*>(a.weight)[n * a.stride_n + k * a.stride_k];
  if constexpr (std::is_same_v<W, std::int8_t>) {
    const std::int64_t index = a.group_k ? n * a.groups_a_row + k / a.group : n / a.group;
    return static_cast<float>(value) * a.scales[index];
  } else {
    return to_float(value);
  }
}

// What a thread fetches of one tile: `loads` elements each of x and of the weight.
template <class T, class W>
struct Fetch {
  float x[loads];
  float weight[loads];

  __device__ void load(const PlainArgs& a, std::int64_t m0, std::int64_t n0, std::int64_t k0) {
    const int t = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int i = 0; i < loads; ++i) {
      const std::int64_t m = m0 + t / tile_k + i * (threads / tile_k);
      const std::int64_t k = k0 + t % tile_k;
      x[i] = m < a.epilogue.m && k < a.k ? to_float(static_cast<const T*>(a.x)[m * a.x_stride + k])
                                         : 0.0f;
    }
    const bool along_k = a.stride_k == 1;
#pragma unroll
    for (int i = 0; i < loads; ++i) {
      const Slot slot = slot_of(a.epilogue, n0, weight_slot(along_k, i));
      const std::int64_t k = k0 + weight_k(along_k, i);
      weight[i] =
          slot.column < a.epilogue.n && k < a.k ? weight_at<W>(a, slot.weight_row, k) : 0.0f;
    }
  }

  __device__ void store(const PlainArgs& a, float (*x_tile)[pitch], float (*weight_tile)[pitch]) {
    const int t = static_cast<int>(threadIdx.x);
    const bool along_k = a.stride_k == 1;
#pragma unroll
    for (int i = 0; i < loads; ++i) {
      x_tile[t % tile_k][t / tile_k + i * (threads / tile_k)] = x[i];
      weight_tile[weight_k(along_k, i)][weight_slot(along_k, i)] = weight[i];
    }
  }

  // Neighbouring threads fetch along the dimension of stride 1.
  __device__ static int weight_slot(bool along_k, int i) {
    const int t = static_cast<int>(threadIdx.x);
    return along_k ? t / tile_k + i * (threads / tile_k) : t % tile;
  }
  __device__ static int weight_k(bool along_k, int i) {
    const int t = static_cast<int>(threadIdx.x);
    return along_k ? t % tile_k : t / tile + i * (threads / tile);
  }
};

using Sums = float[per_thread][per_thread];

__device__ inline void multiply(const float (*x_tile)[pitch], const float (*weight_tile)[pitch],
                                Sums& sums) {
  const int tx = static_cast<int>(threadIdx.x) % (tile / per_thread);
  const int ty = static_cast<int>(threadIdx.x) / (tile / per_thread);
#pragma unroll
  for (int k = 0; k < tile_k; ++k) {
    const float4 x = *reinterpret_cast<const float4*>(&x_tile[k][per_thread * ty]);
    const float4 w = *reinterpret_cast<const float4*>(&weight_tile[k][per_thread * tx]);
    const float xs[per_thread] = {x.x, x.y, x.z, x.w};
    const float ws[per_thread] = {w.x, w.y, w.z, w.w};
#pragma unroll
    for (int i = 0; i < per_thread; ++i) {
#pragma unroll
      for (int j = 0; j < per_thread; ++j) sums[i][j] = fmaf(xs[i], ws[j], sums[i][j]);
    }
  }
}

__device__ inline void promote(Sums& partial, Sums& total) {
#pragma unroll
  for (int i = 0; i < per_thread; ++i) {
#pragma unroll
    for (int j = 0; j < per_thread; ++j) {
      total[i][j] += partial[i][j];
      partial[i][j] = 0.0f;
    }
  }
}

// The order of the sum over k depends on nothing but k: a row has the same bits whatever M is.
template <class T, class W>
__global__ void __launch_bounds__(threads) plain_gemm(const __grid_constant__ PlainArgs a) {
  alignas(16) __shared__ float x_tile[tile_k][pitch];
  alignas(16) __shared__ float weight_tile[tile_k][pitch];
  alignas(16) __shared__ float sums_tile[tile][pitch];
  const int thread = static_cast<int>(threadIdx.x);
  const int columns = tile_columns(a.epilogue.gated, tile);
  release_successor();
  await_predecessor();
  for (std::int64_t t = blockIdx.x; t < a.tiles; t += gridDim.x) {
    const std::int64_t m0 = t / a.tiles_n * tile;
    const std::int64_t n0 = t % a.tiles_n * columns;
    Sums total = {}, partial = {};
    Fetch<T, W> fetch;
    if (a.k > 0) fetch.load(a, m0, n0, 0);
    int since_promotion = 0;
    for (std::int64_t k = 0; k < a.k; k += tile_k) {
      __syncthreads();
      fetch.store(a, x_tile, weight_tile);
      __syncthreads();
      if (k + tile_k < a.k) fetch.load(a, m0, n0, k + tile_k);
      multiply(x_tile, weight_tile, partial);
      if (++since_promotion == tiles_a_partial) {
        promote(partial, total);
        since_promotion = 0;
      }
    }
    promote(partial, total);
    const int tx = thread % (tile / per_thread);
    const int ty = thread / (tile / per_thread);
#pragma unroll
    for (int i = 0; i < per_thread; ++i) {
      *reinterpret_cast<float4*>(&sums_tile[per_thread * ty + i][per_thread * tx]) =
          make_float4(total[i][0], total[i][1], total[i][2], total[i][3]);
    }
    __syncthreads();
    finish_tile<tile, tile, pitch, threads>(a.epilogue, &sums_tile[0][0], m0, n0, thread);
    __syncthreads();
  }
}

PlainArgs plain_args(const Gemm& gemm) {
  PlainArgs a;
  a.x = gemm.x.data;
  a.x_stride = gemm.x.stride;
  a.weight = gemm.weight.data;
  a.stride_n = gemm.weight.stride_n;
  a.stride_k = gemm.weight.stride_k;
  a.k = gemm.k;
  a.scales = gemm.weight.scales;
  a.group_k = gemm.weight.grouping == Grouping::k;
  a.group = std::max<std::int64_t>(gemm.weight.group, 1);
  a.groups_a_row = gemm.k / a.group;
  const int columns = tile_columns(gemm.gated, tile);
  a.tiles_n = (gemm.n + columns - 1) / columns;
  a.tiles = a.tiles_n * ((gemm.m + tile - 1) / tile);
  a.epilogue = epilogue_args(gemm);
  return a;
}

class PlainGemm final : public GemmKernel {
 public:
  const char* name() const override { return "cuda.plain"; }

  const char* can_run(const Gemm& gemm, const ContextState&) const override {
    if (gemm.weight.packed != nullptr) return "the weight is packed for another kernel";
    if (gemm.weight.dtype != gemm.x.dtype && gemm.weight.dtype != DType::i8) {
      return "the weight's dtype is neither that of x nor int8";
    }
    return nullptr;
  }

  std::size_t workspace(const Gemm&, const ContextState&) const override { return 0; }

  std::string describe(const Gemm&, const ContextState&) const override {
    return "tile 64x64x16, fp32 FMA";
  }

  void launch(const Gemm& gemm, void*, ContextState& context) const override {
    const DeviceGuard guard(context.device.index);
    const PlainArgs args = plain_args(gemm);
    LaunchShape shape{grid_of(args.tiles), threads, stream_of(context)};
    shape.programmatic = device_state(context).programmatic;
    dispatch_type(gemm.x.dtype, [&](auto type) {
      using T = decltype(type);
      const auto kernel =
          gemm.weight.dtype == DType::i8 ? plain_gemm<T, std::int8_t> : plain_gemm<T, T>;
      cuda::launch("cuda.plain", kernel, shape, args);
    });
  }
};

}  // namespace

const GemmKernel& plain_gemm_kernel() {
  static const PlainGemm kernel;
  return kernel;
}

void load_plain_gemm() {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    dispatch_type(dtype, [](auto type) {
      using T = decltype(type);
      load_kernel(plain_gemm<T, T>);
      load_kernel(plain_gemm<T, std::int8_t>);
    });
  }
}

bool loaded_for_sm90() {
  cudaFuncAttributes attributes;
  check(cudaFuncGetAttributes(&attributes, plain_gemm<float, float>), "cudaFuncGetAttributes");
  return attributes.ptxVersion >= 90;
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
