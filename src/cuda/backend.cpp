// The CUDA backend: memory, devices and weights, and the seam's calls handed to the kernels.
#include "backend.hpp"

#include <cuda_runtime_api.h>
#include <cutlass/version.h>

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "cuda/copy.hpp"
#include "cuda/device.hpp"
#include "cuda/gemm/kernels.hpp"
#include "cuda/norm/fold.hpp"
#include "cuda/norm/norm.hpp"
#include "cuda/quantize/quantize.hpp"

namespace postlude {
namespace detail {
namespace {

using cuda::check;
using cuda::DeviceGuard;
using cuda::stream_of;

// The number of GPUs; throws where there is no driver or no device.
int device_count() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver || status == cudaErrorNoDevice) {
    cudaGetLastError();
    throw CudaError(
        std::string(
            "[Context] device: this machine has no GPU and driver that this build can use: ") +
            cudaGetErrorString(status),
        static_cast<int>(status));
  }
  check(status, "cudaGetDeviceCount");
  return count;
}

int attribute(cudaDeviceAttr name, int device) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, name, device), "cudaDeviceGetAttribute");
  return value;
}

// Loads every kernel on the current device.
void load_kernels(cuda::DeviceState& device) {
  const int sm = device.sm;
  try {
    cuda::load_plain_gemm();
    cuda::load_gemv();
    cuda::load_sm80_gemm();
    cuda::load_tf32_gemm();
#if defined(POSTLUDE_WITH_SM90)
    if (sm == 90) {
      cuda::load_sm90_gemm(device.clusters_at_once);
      cuda::load_tf32_sm90_gemm();
    }
#endif
    cuda::load_norm();
    cuda::load_residual_add();
    cuda::load_fold();
    cuda::load_copy();
    cuda::load_quantize();
  } catch (const CudaError& error) {
    throw cuda::load_error(error, sm, POSTLUDE_CUDA_ARCHITECTURES);
  }
}

void refuse(const char* op, const char* reason, const std::string& problem) {
  if (reason == nullptr) return;
  throw Unsupported(std::string("[") + op + "] " + reason + ": " + problem);
}

class CudaBackend final : public Backend {
 public:
  CudaBackend()
      : kernels_{
#if defined(POSTLUDE_WITH_SM90)
            &cuda::sm90_gemm_kernel(),
#endif
            &cuda::gemv_kernel(),
#if defined(POSTLUDE_WITH_SM90)
            &cuda::tf32_sm90_gemm_kernel(),
#endif
            &cuda::sm80_gemm_kernel(),      &cuda::tf32_gemm_kernel(), &cuda::plain_gemm_kernel()} {
  }

  std::unique_ptr<BackendState> make_state(Device device) const override {
    const int count = device_count();
    if (device.index < 0 || device.index >= count) {
      throw std::invalid_argument("[Context] device: expected cuda:0 to cuda:" +
                                  std::to_string(count - 1) + ", got " + to_string(device));
    }
    const DeviceGuard guard(device.index);
    auto state = std::make_unique<cuda::DeviceState>();
    state->sm = 10 * attribute(cudaDevAttrComputeCapabilityMajor, device.index) +
                attribute(cudaDevAttrComputeCapabilityMinor, device.index);
    state->sm_count = attribute(cudaDevAttrMultiProcessorCount, device.index);
    load_kernels(*state);
    const char* choice = std::getenv("POSTLUDE_PDL");
    state->clusters = state->sm >= 90 && cuda::loaded_for_sm90();
    state->programmatic = state->clusters && (choice == nullptr || std::string(choice) != "0");
    return state;
  }

  const std::vector<const GemmKernel*>& gemm_kernels() const override { return kernels_; }

  std::size_t norm_workspace(const NormCall&, const ContextState&) const override { return 0; }

  void norm(const NormCall& call, void*, ContextState& context) const override {
    refuse(call.op, cuda::norm_refusal(call), to_string(call));
    const DeviceGuard guard(context.device.index);
    cuda::norm(call, context);
  }

  void residual_add(const ResidualCall& call, ContextState& context) const override {
    refuse(call.op, cuda::residual_add_refusal(call), to_string(call));
    const DeviceGuard guard(context.device.index);
    cuda::residual_add(call, context);
  }

  void copy_rows(const Rows& from, const Rows& to, std::int64_t m, std::int64_t h,
                 ContextState& context) const override {
    const DeviceGuard guard(context.device.index);
    cuda::copy_rows(from, to, m, h, context);
  }

  // A contiguous copy (N, K), and with a norm what the product needs to take it in. Complete when
  // this returns, as the Weight may be used on any stream.
  std::shared_ptr<const WeightState> pack(const TensorView& weight, const PackOptions& options,
                                          ContextState& context) const override {
    auto state = std::make_shared<WeightState>();
    state->n = weight.size(0);
    state->k = weight.size(1);
    state->device = weight.device();
    state->bytes = static_cast<std::size_t>(weight.numel()) * size_of(weight.dtype());
    state->storage.push_back(allocate(state->bytes, weight.device()));
    state->operand.data = state->storage.front().get();
    state->operand.dtype = weight.dtype();
    state->operand.stride_n = state->k;
    state->operand.stride_k = 1;
    const TensorView copy(state->operand.data, weight.dtype(), {state->n, state->k},
                          weight.device());
    copy_matrix(weight, copy, context);
    if (options.norm && !options.gated) {
      const DeviceGuard guard(context.device.index);
      cuda::fold_norm(*state, options.norm, context);
    }
    synchronize(context);
    return state;
  }

  void unpack(const WeightState& weight, const TensorView& out,
              ContextState& context) const override {
    const WeightOperand& operand = weight.operand;
    const TensorView from(operand.data, operand.dtype, {weight.n, weight.k},
                          {operand.stride_n, operand.stride_k}, weight.device);
    copy_matrix(from, out, context);
  }

  void copy_matrix(const TensorView& from, const TensorView& to,
                   ContextState& context) const override {
    const DeviceGuard guard(context.device.index);
    cuda::copy_matrix(from, to, context);
  }

  // Complete when this returns, as pack is.
  void quantize(const TensorView& weight, const QuantizeOptions& options, const TensorView& q,
                const TensorView& scales, ContextState& context) const override {
    const DeviceGuard guard(context.device.index);
    cuda::quantize(weight, options, q, scales, stream_of(context));
    synchronize(context);
  }

  std::shared_ptr<void> allocate(std::size_t bytes, Device device) const override {
    if (bytes == 0) return nullptr;
    const DeviceGuard guard(device.index);
    void* data = nullptr;
    check(cudaMalloc(&data, bytes), ("cudaMalloc of " + std::to_string(bytes) + " bytes").c_str());
    return std::shared_ptr<void>(data, [](void* p) { cudaFree(p); });
  }

  void synchronize(ContextState& context) const override {
    const DeviceGuard guard(context.device.index);
    check(cudaStreamSynchronize(stream_of(context)), "cudaStreamSynchronize");
  }

  void synchronize(Device device) const override {
    const DeviceGuard guard(device.index);
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  }

  TuneDevice tune_device(const ContextState& context) const override {
    const cuda::DeviceState& state = cuda::device_state(context);
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, context.device.index), "cudaGetDeviceProperties");
    return {properties.name, "sm_" + std::to_string(state.sm), state.sm_count};
  }

  std::string config() const override {
    return "cuda: toolkit " + std::to_string(CUDART_VERSION / 1000) + "." +
           std::to_string(CUDART_VERSION % 1000 / 10) +
           ", architectures " POSTLUDE_CUDA_ARCHITECTURES ", CUTLASS " +
           std::to_string(CUTLASS_MAJOR) + "." + std::to_string(CUTLASS_MINOR) + "." +
           std::to_string(CUTLASS_PATCH) + "\n";
  }

 private:
  std::vector<const GemmKernel*> kernels_;
};

}  // namespace

const Backend* cuda_backend() {
  static const CudaBackend backend;
  return &backend;
}

}  // namespace detail
}  // namespace postlude
