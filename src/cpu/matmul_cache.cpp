// oneDNN matmul primitives for tiles: see matmul_cache.hpp.
#include "cpu/matmul_cache.hpp"

#include <algorithm>
#include <utility>

#include "cpu/isa/tile_ops.hpp"
#include "cpu/threads.hpp"

namespace postlude {
namespace detail {
namespace {

using dnnl::memory;

bool is_reference(const char* impl) { return std::string(impl).rfind("ref", 0) == 0; }

// Null where oneDNN refuses the shape or has only reference code for it.
std::unique_ptr<dnnl::matmul::primitive_desc> describe(const dnnl::engine& engine,
                                                       const MatmulShape& s,
                                                       const memory::desc& weight) {
  const memory::data_type type = to_dnnl(s.dtype);
  const memory::desc x({s.m, s.k}, type, memory::dims{s.ldx, 1});
  const memory::desc acc({s.m, s.n}, memory::data_type::f32, memory::dims{acc_stride(s.n), 1});
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const OneThread guard;
  auto pd = std::make_unique<dnnl::matmul::primitive_desc>(engine, x, weight, acc, attr, true);
  while (pd->get(true) != nullptr && is_reference(pd->impl_info_str())) {
    if (!pd->next_impl()) return nullptr;
  }
  return pd->get(true) != nullptr ? std::move(pd) : nullptr;
}

}  // namespace

std::size_t MatmulShapeHash::operator()(const MatmulShape& s) const {
  std::uint64_t h = 1469598103934665603u;
  const std::int64_t fields[] = {s.m,   s.n,      s.k,          static_cast<std::int64_t>(s.dtype),
                                 s.ldx, s.packed, s.w_stride_n, s.w_stride_k};
  for (const std::int64_t f : fields) h = (h ^ static_cast<std::uint64_t>(f)) * 1099511628211u;
  return static_cast<std::size_t>(h ^ (h >> 32));
}

std::int64_t acc_stride(std::int64_t n) {
  return (n + tile_column_pad - 1) / tile_column_pad * tile_column_pad;
}

memory::data_type to_dnnl(DType dtype) {
  switch (dtype) {
    case DType::bf16:
      return memory::data_type::bf16;
    case DType::f16:
      return memory::data_type::f16;
    case DType::i8:
      return memory::data_type::s8;
    case DType::f32:
      break;
  }
  return memory::data_type::f32;
}

Matmul::Matmul(const dnnl::engine& engine, const dnnl::matmul::primitive_desc& pd)
    : engine_(engine), stream_(engine), pd_(pd) {
  const OneThread guard;
  primitive_ = dnnl::matmul(pd_);
  scratch_bytes_ = pd_.scratchpad_desc().get_size();
  impl_ = pd_.impl_info_str();
}

void Matmul::ensure_slots(int count) {
  while (slots_.size() < static_cast<std::size_t>(count)) {
    slots_.push_back({memory(pd_.src_desc(), engine_, nullptr),
                      memory(pd_.weights_desc(), engine_, nullptr),
                      memory(pd_.dst_desc(), engine_, nullptr),
                      memory(pd_.scratchpad_desc(), engine_, nullptr)});
  }
}

bool Matmul::run(int slot, const void* x, const void* w, float* acc, void* scratch) const {
  const Slot& s = slots_[static_cast<std::size_t>(slot)];
  const auto set = [](const memory& m, const void* p) {
    return dnnl_memory_set_data_handle(m.get(), const_cast<void*>(p)) == dnnl_success;
  };
  if (!set(s.x, x) || !set(s.w, w) || !set(s.acc, acc) || !set(s.scratch, scratch)) return false;
  const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, s.x.get()},
                                  {DNNL_ARG_WEIGHTS, s.w.get()},
                                  {DNNL_ARG_DST, s.acc.get()},
                                  {DNNL_ARG_SCRATCHPAD, s.scratch.get()}};
  return dnnl_primitive_execute(primitive_.get(), stream_.get(), 4, args) == dnnl_success;
}

CpuState::CpuState(std::size_t limit)
    : engine_(dnnl::engine::kind::cpu, 0), limit_(std::max(limit, least)) {}

Matmul* CpuState::find(const MatmulShape& shape, int slots) {
  const auto known = by_shape_.find(shape);
  if (known != by_shape_.end()) {
    entries_.splice(entries_.begin(), entries_, known->second);
  } else {
    const memory::desc weight =
        shape.packed ? packed_panel_desc(engine_, shape.dtype, shape.n, shape.k)
                     : memory::desc({shape.k, shape.n}, to_dnnl(shape.dtype),
                                    memory::dims{shape.w_stride_k, shape.w_stride_n});
    std::unique_ptr<Matmul> made;
    if (const auto pd = describe(engine_, shape, weight)) {
      made = std::make_unique<Matmul>(engine_, *pd);
    }
    entries_.push_front({shape, std::move(made)});
    by_shape_[shape] = entries_.begin();
    if (entries_.size() > limit_) {
      by_shape_.erase(entries_.back().shape);
      entries_.pop_back();
    }
  }
  Matmul* matmul = entries_.front().matmul.get();
  if (matmul != nullptr) matmul->ensure_slots(slots);
  return matmul;
}

memory::desc packed_panel_desc(const dnnl::engine& engine, DType dtype, std::int64_t n,
                               std::int64_t k) {
  MatmulShape shape;
  shape.m = canonical_rows;
  shape.n = n;
  shape.k = shape.ldx = k;
  shape.dtype = dtype;
  const auto pd =
      describe(engine, shape, memory::desc({k, n}, to_dnnl(dtype), memory::format_tag::any));
  return pd != nullptr ? pd->weights_desc() : memory::desc();
}

CpuState& cpu_state(const ContextState& context) {
  return static_cast<CpuState&>(*context.backend_state);
}

}  // namespace detail
}  // namespace postlude
