// The CPU backend: which kernels it has, and its row-wise steps spread over the threads.
#include "backend.hpp"

#include <omp.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "cpu/gemm_kernels.hpp"
#include "cpu/isa/tile_ops.hpp"
#include "cpu/matmul_cache.hpp"
#include "cpu/matrix.hpp"
#include "cpu/pack.hpp"
#include "cpu/threads.hpp"

namespace postlude {
namespace detail {
namespace {

double row_microseconds(std::int64_t m, std::int64_t h, double nanoseconds) {
  return static_cast<double>(m) * static_cast<double>(h) * nanoseconds * 1e-3;
}

int norm_threads(const NormCall& call) {
  return team_size(call.m, row_microseconds(call.m, call.h, 0.3));
}

std::size_t norm_row_bytes(const NormCall& call) {
  const std::int64_t padded = (call.h + tile_column_pad - 1) / tile_column_pad * tile_column_pad;
  return align_up(static_cast<std::size_t>(padded) * sizeof(float));
}

class CpuBackend : public Backend {
 public:
  std::unique_ptr<BackendState> make_state(Device) const override {
    return std::make_unique<CpuState>();
  }

  const std::vector<const GemmKernel*>& gemm_kernels() const override {
    static const std::vector<const GemmKernel*> kernels = {&dot_gemm(), &onednn_gemm(),
                                                           &reference_gemm()};
    return kernels;
  }

  std::size_t norm_workspace(const NormCall& call, const ContextState&) const override {
    if (call.m == 0 || call.h == 0) return 0;
    return static_cast<std::size_t>(norm_threads(call)) * norm_row_bytes(call);
  }

  void norm(const NormCall& call, void* workspace, ContextState&) const override {
    run_team(norm_threads(call), [&](int thread, int team) {
      const Range mine = share(call.m, thread, team);
      char* row =
          static_cast<char*>(workspace) + static_cast<std::size_t>(thread) * norm_row_bytes(call);
      tile_ops().norm_rows(call, mine.begin, mine.end, reinterpret_cast<float*>(row));
    });
  }

  void residual_add(const ResidualCall& call, ContextState&) const override {
    run_team(team_size(call.m, row_microseconds(call.m, call.h, 0.2)), [&](int thread, int team) {
      const Range mine = share(call.m, thread, team);
      tile_ops().residual_rows(call, mine.begin, mine.end);
    });
  }

  void copy_rows(const Rows& from, const Rows& to, std::int64_t m, std::int64_t h,
                 ContextState&) const override {
    copy_plain_rows(from, to, m, h);
  }

  std::shared_ptr<const WeightState> pack(const TensorView& weight, const PackOptions& options,
                                          ContextState& context) const override {
    return pack_panels(weight, options, context);
  }

  void unpack(const WeightState& weight, const TensorView& out,
              ContextState& context) const override {
    unpack_panels(weight, out, context);
  }

  void copy_matrix(const TensorView& from, const TensorView& to, ContextState&) const override {
    copy_plain_matrix(from, to);
  }

  void quantize(const TensorView& weight, const QuantizeOptions& options, const TensorView& q,
                const TensorView& scales, ContextState&) const override {
    quantize_matrix(weight, options, q, scales);
  }

  std::shared_ptr<void> allocate(std::size_t bytes, Device) const override {
    // Large blocks are weights, read from end to end: huge pages spare them most address
    // translations.
    constexpr std::size_t huge_page = std::size_t{1} << 21;
    const bool huge = bytes >= huge_page;
    const std::size_t alignment = huge ? huge_page : workspace_alignment;
    if (bytes > PTRDIFF_MAX - alignment) throw std::bad_alloc();
    const std::size_t rounded =
        (std::max<std::size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
    void* memory = std::aligned_alloc(alignment, rounded);
    if (memory == nullptr) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
    if (huge) madvise(memory, rounded, MADV_HUGEPAGE);  // a wish: it may fail
#endif
    return {memory, [](void* p) { std::free(p); }};
  }

  void synchronize(ContextState&) const override {}
  void synchronize(Device) const override {}

  std::string config() const override {
    const dnnl_version_t* v = dnnl_version();
    return "cpu: oneDNN " + std::to_string(v->major) + "." + std::to_string(v->minor) + "." +
           std::to_string(v->patch) + ", vector code " + tile_ops().isa + ", " +
           std::to_string(omp_get_max_threads()) + " OpenMP threads\n";
  }
};

}  // namespace

const Backend* cpu_backend() {
  static const CpuBackend backend;
  return &backend;
}

}  // namespace detail
}  // namespace postlude
