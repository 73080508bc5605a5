// Times every tile of the Hopper GEMM on a list of problems, next to cuBLAS's bare product where
// the library is found, and says which one the model takes: the source of its constants and of the
// table of exceptions.
//
//   sm90_sweep [FILE] < problems        FILE: every time as CSV; CUBLAS=path of libcublas.so;
//                                       WITHIN=2: only what the model expects within twice its best
//
// A problem is a line "M N K kind": N weight rows; kind is plain, gated (SiLU), gelu (with bias),
// residual or scaled (by row_scale). Weights rotate past the L2, graphs are replayed, the best six
// of each problem and cuBLAS take turns for the times that count; all are checked against a naive
// product.
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cuda/gemm/sm90_tiles.hpp"

namespace {

using namespace postlude;
using namespace postlude::detail;
namespace gpu = postlude::detail::cuda;
using gpu::check;
using gpu::Sm90Choice;

constexpr std::size_t rotated_bytes = std::size_t{256} << 20;

__global__ void fill(__nv_bfloat16* data, std::size_t count, float scale, std::uint32_t seed) {
  for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < count;
       i += std::size_t{gridDim.x} * blockDim.x) {
    std::uint32_t h = (static_cast<std::uint32_t>(i) + seed) * 2654435761u;
    h ^= h >> 15;
    h *= 2246822519u;
    h ^= h >> 13;
    h *= 3266489917u;
    h ^= h >> 16;
    float sum = 0.0f;  // of four bytes: close to normal
    for (int b = 0; b < 4; ++b) sum += static_cast<float>(h >> (8 * b) & 255u) - 127.5f;
    data[i] = __float2bfloat16(sum * scale / 147.8f);
  }
}

__device__ float row_scale(std::int64_t row) { return 0.5f + static_cast<float>(row % 7) * 0.25f; }

__global__ void fill_scales(float* scales, std::int64_t m) {
  for (std::int64_t i = blockIdx.x * blockDim.x + threadIdx.x; i < m; i += gridDim.x * blockDim.x) {
    scales[i] = row_scale(i);
  }
}

struct Problem {
  std::int64_t m, n, k;
  std::string kind;
};

__device__ float naive_sum(const __nv_bfloat16* x, const __nv_bfloat16* w, std::int64_t k) {
  float sum = 0.0f;
  for (std::int64_t i = 0; i < k; ++i) sum += __bfloat162float(x[i]) * __bfloat162float(w[i]);
  return sum;
}

constexpr unsigned checked_rows = 48;

// The sampled row of this block and the column of this thread; false where there is none.
__device__ bool checked(std::int64_t m, std::int64_t columns, std::int64_t row_step,
                        std::int64_t& row, std::int64_t& column) {
  column = blockIdx.x * std::int64_t{blockDim.x} + threadIdx.x;
  row = m - 1 - blockIdx.y * row_step;
  return column < columns && row >= 0;
}

// The naive result of the sampled rows.
__global__ void expect(const __nv_bfloat16* x, const __nv_bfloat16* w, const __nv_bfloat16* bias,
                       const __nv_bfloat16* residual, float* expected, std::int64_t m,
                       std::int64_t columns, std::int64_t k, int kind, std::int64_t row_step) {
  std::int64_t row, column;
  if (!checked(m, columns, row_step, row, column)) return;
  float v = naive_sum(x + row * k, w + column * k, k);
  if (kind == 1) v = v / (1.0f + expf(-v)) * naive_sum(x + row * k, w + (columns + column) * k, k);
  if (kind == 2) {
    v += __bfloat162float(bias[column]);
    v = 0.5f * v * (1.0f + tanhf(0.7978845608f * (v + 0.044715f * v * v * v)));
  }
  if (kind == 4) v *= row_scale(row);
  if (kind == 3) v += __bfloat162float(residual[row * columns + column]);
  expected[blockIdx.y * columns + column] = v;
}

// The greatest difference of `out` from it, in the first float of `worst` (as bits, which order as
// positive floats do).
__global__ void compare(const float* expected, const __nv_bfloat16* out, std::int64_t m,
                        std::int64_t columns, std::int64_t row_step, unsigned* worst) {
  std::int64_t row, column;
  if (!checked(m, columns, row_step, row, column)) return;
  const float v = expected[blockIdx.y * columns + column];
  const float error = fabsf(__bfloat162float(out[row * columns + column]) - v) / (1.0f + fabsf(v));
  atomicMax(worst, isnan(error) ? 0x7f800000u : __float_as_uint(error));
}

struct Buffer {
  explicit Buffer(std::size_t bytes) { check(cudaMalloc(&data, bytes), "cudaMalloc"); }
  ~Buffer() { cudaFree(data); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  __nv_bfloat16* get() const { return static_cast<__nv_bfloat16*>(data); }
  void* data = nullptr;
};

// cuBLAS's bare product, looked up at run time.
class Cublas {
 public:
  explicit Cublas(cudaStream_t stream) {
    const char* path = std::getenv("CUBLAS");
    void* library = dlopen(path != nullptr ? path : "libcublas.so", RTLD_NOW);
    if (library == nullptr) return;
    const auto find = [&](const char* name) { return dlsym(library, name); };
    reinterpret_cast<int (*)(void**)>(find("cublasCreate_v2"))(&handle_);
    reinterpret_cast<int (*)(void*, cudaStream_t)>(find("cublasSetStream_v2"))(handle_, stream);
    static const Buffer workspace(std::size_t{64} << 20);
    reinterpret_cast<int (*)(void*, void*, std::size_t)>(find("cublasSetWorkspace_v2"))(
        handle_, workspace.data, std::size_t{64} << 20);
    gemm_ = reinterpret_cast<Gemm>(find("cublasGemmEx"));
  }
  bool present() const { return gemm_ != nullptr; }
  void operator()(const Problem& p, const void* x, const void* w, void* out) const {
    const float one = 1.0f, zero = 0.0f;
    const int n = static_cast<int>(p.n), m = static_cast<int>(p.m), k = static_cast<int>(p.k);
    gemm_(handle_, 1, 0, n, m, k, &one, w, 14, k, x, 14, k, &zero, out, 14, n, 68, -1);
  }

 private:
  using Gemm = int (*)(void*, int, int, int, int, int, const void*, const void*, int, int,
                       const void*, int, int, const void*, void*, int, int, int, int);
  void* handle_ = nullptr;
  Gemm gemm_ = nullptr;
};

// A captured run over all copies of the weight.
struct Contender {
  std::string name;
  cudaGraphExec_t graph = nullptr;
  std::vector<double> us;
  double model = 0.0;
  double error = 0.0;
  double median() const {
    std::vector<double> sorted = us;
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() / 2];
  }
};

class Sweep {
 public:
  explicit Sweep(std::FILE* csv) : csv_(csv) {
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
    for (cudaEvent_t& e : events_) check(cudaEventCreate(&e), "cudaEventCreate");
    cublas_ = std::make_unique<Cublas>(stream_);
    auto state = std::make_unique<gpu::DeviceState>();
    state->sm = 90;
    check(cudaDeviceGetAttribute(&state->sm_count, cudaDevAttrMultiProcessorCount, 0), "attribute");
    state->programmatic = std::getenv("NO_PDL") == nullptr;
    for (const auto& tile : gpu::sm90_tiles()) tile.load();
    for (int size = 1; size <= 8; ++size) {
      using Block = gpu::Sm90Block<128, 128, 1, true>;
      state->clusters_at_once[size] = Block::clusters_at_once(size);
      std::printf("%d clusters of %d at once\n", state->clusters_at_once[size], size);
    }
    context_.device = Device{DeviceType::cuda, 0};
    context_.stream = StreamRef(stream_);
    context_.backend_state = std::move(state);
  }

  void run(const Problem& p) {
    const int kind = p.kind == "gated"      ? 1
                     : p.kind == "gelu"     ? 2
                     : p.kind == "residual" ? 3
                     : p.kind == "scaled"   ? 4
                                            : 0;
    const std::int64_t columns = kind == 1 ? p.n / 2 : p.n;
    const std::size_t weight = static_cast<std::size_t>(p.n) * p.k;
    const int copies = static_cast<int>(
        std::max<std::size_t>(2, std::min<std::size_t>(64, rotated_bytes / (2 * weight))));
    const Buffer x(2 * p.m * p.k), w(2 * weight * copies), bias(2 * p.n), out(2 * p.m * p.n);
    const Buffer residual(2 * p.m * columns), worst(16), scales(4 * p.m);
    const auto fill_in = [&](const Buffer& b, std::size_t count, float scale, unsigned seed) {
      fill<<<1024, 256, 0, stream_>>>(b.get(), count, scale, seed);
    };
    fill_in(x, p.m * p.k, 1.0f, 1);
    fill_in(w, weight * copies, 1.0f / std::sqrt(static_cast<float>(p.k)), 77);
    fill_in(bias, p.n, 0.5f, 5);
    fill_in(residual, p.m * columns, 1.0f, 9);

    Gemm g;
    g.op = "sweep";
    g.m = p.m;
    g.n = columns;
    g.k = p.k;
    g.x = Rows{x.data, DType::bf16, p.k, true};
    g.weight.dtype = DType::bf16;
    g.weight.stride_n = p.k;
    g.weight.stride_k = 1;
    g.out = Rows{out.data, DType::bf16, columns, true};
    if (kind == 1) {
      g.gated = true;
      g.activation = Activation::silu;
    } else if (kind == 2) {
      g.bias = Vector{bias.data, DType::bf16, true, false};
      g.activation = Activation::gelu_tanh;
    } else if (kind == 3) {
      g.residual = Rows{residual.data, DType::bf16, columns, true};
    } else if (kind == 4) {  // any small positive numbers: the check takes them, too
      fill_scales<<<64, 256, 0, stream_>>>(static_cast<float*>(scales.data), p.m);
      g.row_scale = Vector{scales.data, DType::f32, true, false};
    }

    const auto& device = gpu::device_state(context_);
    const std::int64_t step = std::max<std::int64_t>(1, p.m / checked_rows);
    const dim3 grid(static_cast<unsigned>((columns + 127) / 128), checked_rows);
    const Buffer expected(4 * checked_rows * columns);
    auto* const values = static_cast<float*>(expected.data);
    expect<<<grid, 128, 0, stream_>>>(x.get(), w.get(), bias.get(), residual.get(), values, p.m,
                                      columns, p.k, kind, step);
    std::vector<Contender> all;
    const std::vector<Sm90Choice> choices = gpu::sm90_choices(g, device);
    double least = 1e30;
    for (const Sm90Choice& choice : choices) {
      least = std::min(least, gpu::sm90_microseconds(g, choice, device));
    }
    for (const Sm90Choice& choice : choices) {
      if (gpu::sm90_microseconds(g, choice, device) > within_ * least) continue;
      Contender c;
      c.name = gpu::to_string(choice);
      c.model = gpu::sm90_microseconds(g, choice, device);
      check(cudaMemsetAsync(out.data, 0xff, 2 * p.m * columns, stream_), "poison");
      check(cudaMemsetAsync(worst.data, 0, 16, stream_), "memset");
      g.weight.data = w.get();
      gpu::sm90_launch(g, choice, context_);
      compare<<<grid, 128, 0, stream_>>>(values, out.get(), p.m, columns, step,
                                         static_cast<unsigned*>(worst.data));
      float error = 0.0f;
      check(cudaMemcpyAsync(&error, worst.data, 4, cudaMemcpyDeviceToHost, stream_), "memcpy");
      check(cudaStreamSynchronize(stream_), c.name.c_str());
      c.error = error;
      c.graph = capture([&] {
        for (int i = 0; i < copies; ++i) {
          g.weight.data = w.get() + i * weight;
          gpu::sm90_launch(g, choice, context_);
        }
      });
      c.us.push_back(time(c.graph, copies));
      all.push_back(c);
    }
    std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.us[0] < b.us[0]; });
    const std::string taken = gpu::to_string(gpu::sm90_choose(g, device));
    std::vector<Contender*> best;
    for (Contender& c : all) {
      if (best.size() < 6 || c.name == taken) best.push_back(&c);
    }
    Contender cublas;
    cublas.name = "cuBLAS, bare";
    if (cublas_->present()) {
      cublas.graph = capture([&] {
        for (int i = 0; i < copies; ++i) (*cublas_)(p, x.data, w.get() + i * weight, out.data);
      });
      time(cublas.graph, copies);
      best.push_back(&cublas);
    }
    for (Contender* c : best) c->us.clear();
    for (int round = 0; round < 5; ++round) {
      for (Contender* c : best) c->us.push_back(time(c->graph, copies));
    }
    const double flops = 2.0 * p.m * p.n * p.k;
    std::printf("%ld x %ld x %ld %s (floor %.1f us)\n", static_cast<long>(p.m),
                static_cast<long>(p.n), static_cast<long>(p.k), p.kind.c_str(),
                std::max(flops / 790e6, (2.0 * weight + 2.0 * p.m * (p.k + columns)) / 4.4e6));
    std::sort(best.begin(), best.end(), [](auto* a, auto* b) { return a->median() < b->median(); });
    for (const Contender* c : best) {
      std::printf("  %8.1f us %5.0f TF  model %8.1f  error %.1e  %s%s\n", c->median(),
                  flops / c->median() / 1e6, c->model, c->error, c->name.c_str(),
                  c->name == taken ? "  <- taken" : "");
    }
    double worst_error = 0.0;
    for (const Contender& c : all) {
      worst_error = std::max(worst_error, std::isnan(c.error) ? 1e9 : c.error);
      if (!(c.error < 0.02)) std::printf("  WRONG %.2e %s\n", c.error, c.name.c_str());
      if (csv_ != nullptr) {
        std::fprintf(csv_, "%ld,%ld,%ld,%s,\"%s\",%.2f,%.2f,%.2e\n", static_cast<long>(p.m),
                     static_cast<long>(p.n), static_cast<long>(p.k), p.kind.c_str(), c.name.c_str(),
                     c.median(), c.model, c.error);
      }
      cudaGraphExecDestroy(c.graph);
    }
    if (cublas.graph != nullptr && csv_ != nullptr) {
      std::fprintf(csv_, "%ld,%ld,%ld,%s,\"cuBLAS\",%.2f,0,0\n", static_cast<long>(p.m),
                   static_cast<long>(p.n), static_cast<long>(p.k), p.kind.c_str(), cublas.median());
    }
    if (cublas.graph != nullptr) cudaGraphExecDestroy(cublas.graph);
    std::fflush(stdout);
    if (csv_ != nullptr) std::fflush(csv_);
  }

 private:
  cudaGraphExec_t capture(const std::function<void()>& calls) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "begin capture");
    calls();
    check(cudaStreamEndCapture(stream_, &graph), "end capture");
    check(cudaGraphInstantiate(&exec, graph, 0), "instantiate");
    check(cudaGraphDestroy(graph), "destroy");
    return exec;
  }

  // Microseconds a call.
  double time(cudaGraphExec_t graph, int calls) {
    const auto replay = [&](int times) {
      check(cudaEventRecord(events_[0], stream_), "record");
      for (int i = 0; i < times; ++i) check(cudaGraphLaunch(graph, stream_), "launch");
      check(cudaEventRecord(events_[1], stream_), "record");
      check(cudaEventSynchronize(events_[1]), "synchronize");
      float ms = 0.0f;
      check(cudaEventElapsedTime(&ms, events_[0], events_[1]), "elapsed");
      return 1e3 * ms / times / calls;
    };
    const double once = replay(1) * calls;
    return replay(std::max(1, static_cast<int>(2500.0 / once)));
  }

  std::FILE* csv_;
  // Choices that the model expects to take longer than this times the best are not run.
  double within_ = std::getenv("WITHIN") != nullptr ? std::atof(std::getenv("WITHIN")) : 1e30;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t events_[2] = {};
  std::unique_ptr<Cublas> cublas_;
  ContextState context_;
};

}  // namespace

int main(int argc, char** argv) {
  std::FILE* csv = argc > 1 ? std::fopen(argv[1], "w") : nullptr;
  if (csv != nullptr) std::fprintf(csv, "m,n,k,kind,tile,us,model,error\n");
  Sweep sweep(csv);
  long m = 0, n = 0, k = 0;
  char kind[16];
  while (std::scanf("%ld %ld %ld %15s", &m, &n, &k, kind) == 4) sweep.run({m, n, k, kind});
  return 0;
}
