// The GEMM of up to 4 rows with a plain [out, in] weight: dot products that stream the weight once,
// at memory speed.
//
// A block computes 8 neighbouring output columns, a warp one of them: its lanes read the weight row
// 16 bytes at a time, several loads ahead, and the rows of x out of L1. The lanes' sums are added
// in a fixed order.
#include <string>

#include "cuda/device.hpp"
#include "cuda/epilogue/epilogue.cuh"
#include "cuda/gemm/kernels.hpp"
#include "cuda/launch.cuh"

namespace postlude {
namespace detail {
namespace cuda {
namespace {

constexpr int warps = run_width;  // a run of columns, one a warp
constexpr int lanes = 32;
constexpr int step = lanes * run_width;  // elements of k that a warp reads at once
constexpr int ahead = 4;                 // steps whose loads are issued together
constexpr int max_rows = 4;

struct GemvArgs {
  RowsArg x;
  const void* weight = nullptr;
  std::int64_t weight_stride = 0;
  bool vector = false;  // rows of x and of the weight begin at multiples of 16 bytes
  std::int64_t k = 0;
  EpilogueArgs epilogue;
};

template <class T>
__device__ void add_products(const Run<T, run_width>& w, const Run<T, run_width>& x, float& sum) {
#pragma unroll
  for (int i = 0; i < run_width; ++i) sum = fmaf(to_float(w.value[i]), to_float(x.value[i]), sum);
}

// One lane's part of the products of Rows rows of x with Halves weight rows.
template <class T, int Rows, int Halves>
__device__ void dot(const GemvArgs& a, const T* const (&weight)[Halves],
                    float (&sums)[Halves][Rows]) {
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  const std::int64_t whole = a.vector ? a.k / (step * ahead) * (step * ahead) : 0;
  for (std::int64_t k = lane * run_width; k < whole; k += step * ahead) {
    Run<T, run_width> w[ahead][Halves];
#pragma unroll
    for (int u = 0; u < ahead; ++u) {
#pragma unroll
      for (int h = 0; h < Halves; ++h) w[u][h].load(weight[h] + k + u * step, run_width, true);
    }
#pragma unroll
    for (int u = 0; u < ahead; ++u) {
#pragma unroll
      for (int r = 0; r < Rows; ++r) {
        const Run<T, run_width> x = a.x.load<T>(r, k + u * step, run_width);
#pragma unroll
        for (int h = 0; h < Halves; ++h) add_products(w[u][h], x, sums[h][r]);
      }
    }
  }
  for (std::int64_t k = whole + lane * run_width; k < a.k; k += step) {
    const std::int64_t left = a.k - k;
    const int count = left < run_width ? static_cast<int>(left) : run_width;
#pragma unroll
    for (int h = 0; h < Halves; ++h) {
      Run<T, run_width> w;
      w.load(weight[h] + k, count, a.vector);
#pragma unroll
      for (int r = 0; r < Rows; ++r) {
        const Run<T, run_width> x = a.x.load<T>(r, k, count);
        add_products(w, x, sums[h][r]);
      }
    }
  }
}

template <class T, int Rows, int Halves>
__global__ void __launch_bounds__(warps* lanes) gemv(const GemvArgs a) {
  __shared__ float shared[Halves][Rows][run_width];
  const int warp = static_cast<int>(threadIdx.x) / lanes;
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  const EpilogueArgs& e = a.epilogue;
  release_successor();
  await_predecessor();
  for (std::int64_t first = blockIdx.x * run_width; first < e.n; first += gridDim.x * run_width) {
    float sums[Halves][Rows] = {};
    if (first + warp < e.n) {
      const T* weight[Halves];
#pragma unroll
      for (int h = 0; h < Halves; ++h) {
        weight[h] = static_cast<const T*>(a.weight) +
                    ((h == 0 ? e.gate_row : e.up_row) + first + warp) * a.weight_stride;
      }
      dot<T, Rows, Halves>(a, weight, sums);
    }
#pragma unroll
    for (int h = 0; h < Halves; ++h) {
#pragma unroll
      for (int r = 0; r < Rows; ++r) {
#pragma unroll
        for (int distance = lanes / 2; distance > 0; distance /= 2) {
          sums[h][r] += __shfl_xor_sync(0xffffffffu, sums[h][r], distance);
        }
        if (lane == 0) shared[h][r][warp] = sums[h][r];
      }
    }
    __syncthreads();
    if (threadIdx.x < Rows && threadIdx.x < e.m) {
      Values acc, up;
#pragma unroll
      for (int i = 0; i < run_width; ++i) {
        acc[i] = shared[0][threadIdx.x][i];
        up[i] = shared[Halves - 1][threadIdx.x][i];
      }
      finish_run(e, threadIdx.x, first, acc, up);
    }
    __syncthreads();
  }
}

// Calls function with the kernel for a dtype, a number of rows and gating.
template <class T, class Function>
void with_rows(int rows, bool gated, Function&& function) {
  switch (rows) {
    case 1:
      return gated ? function(gemv<T, 1, 2>) : function(gemv<T, 1, 1>);
    case 2:
      return gated ? function(gemv<T, 2, 2>) : function(gemv<T, 2, 1>);
    case 3:
      return gated ? function(gemv<T, 3, 2>) : function(gemv<T, 3, 1>);
    default:
      return gated ? function(gemv<T, 4, 2>) : function(gemv<T, 4, 1>);
  }
}

template <class Function>
void with_kernel(DType dtype, int rows, bool gated, Function&& function) {
  dispatch_type(dtype, [&](auto type) { with_rows<decltype(type)>(rows, gated, function); });
}

class GemvKernel final : public GemmKernel {
 public:
  const char* name() const override { return "cuda.gemv"; }

  const char* can_run(const Gemm& g, const ContextState&) const override {
    if (g.m > max_rows) return "more than 4 rows";
    if (g.weight.packed != nullptr) return "the weight is packed for another kernel";
    if (g.weight.dtype != g.x.dtype) return "the weight's dtype is not that of x";
    if (g.k > 1 && g.weight.stride_k != 1) return "the weight is [in, out]";
    if (g.batch_invariant) return "its bits depend on the number of rows";
    return nullptr;
  }

  std::size_t workspace(const Gemm&, const ContextState&) const override { return 0; }
  std::string describe(const Gemm& g, const ContextState&) const override {
    return "8 columns a block, " + std::to_string(g.m) + " rows at once";
  }

  void launch(const Gemm& g, void*, ContextState& context) const override {
    const DeviceGuard guard(context.device.index);
    GemvArgs a;
    a.x = rows_arg(g.x, g.m);
    a.weight = g.weight.data;
    a.weight_stride = g.weight_rows() > 1 ? g.weight.stride_n : 0;
    const auto pitch = a.weight_stride * static_cast<std::int64_t>(size_of(g.weight.dtype));
    a.vector = a.x.vector && is_aligned(g.weight.data) && pitch % 16 == 0;
    a.x.vector = a.vector;
    a.k = g.k;
    a.epilogue = epilogue_args(g);
    LaunchShape shape{grid_of((g.n + run_width - 1) / run_width), warps * lanes, stream_of(context),
                      0};
    shape.programmatic = device_state(context).programmatic;
    with_kernel(g.x.dtype, static_cast<int>(g.m), g.gated,
                [&](auto kernel) { cuda::launch("cuda.gemv", kernel, shape, a); });
  }
};

}  // namespace

const GemmKernel& gemv_kernel() {
  static const GemvKernel kernel;
  return kernel;
}

void load_gemv() {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    for (const int rows : {1, 2, 3, 4}) {
      for (const bool gated : {false, true}) {
        with_kernel(dtype, rows, gated, [](auto kernel) { load_kernel(kernel); });
      }
    }
  }
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
