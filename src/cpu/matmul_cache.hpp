// oneDNN matmul primitives for tiles, each built once a Context and run by one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "backend.hpp"

namespace postlude {
namespace detail {

// acc[m, n] (f32, row stride acc_stride(n)) = x[m, k] * w[n, k]: x with row stride ldx, w plain
// with strides or packed.
struct MatmulShape {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  DType dtype = DType::f32;
  std::int64_t ldx = 0;
  bool packed = false;
  std::int64_t w_stride_n = 0;  // plain only
  std::int64_t w_stride_k = 0;

  bool operator==(const MatmulShape& o) const {
    return m == o.m && n == o.n && k == o.k && dtype == o.dtype && ldx == o.ldx &&
           packed == o.packed && w_stride_n == o.w_stride_n && w_stride_k == o.w_stride_k;
  }
};

struct MatmulShapeHash {
  std::size_t operator()(const MatmulShape& s) const;
};

// Floats between the rows of an accumulator tile of n columns.
std::int64_t acc_stride(std::int64_t n);

// One primitive for one thread at a time a slot; slots are independent.
class Matmul {
 public:
  Matmul(const dnnl::engine& engine, const dnnl::matmul::primitive_desc& pd);
  void ensure_slots(int count);
  std::size_t scratch_bytes() const { return scratch_bytes_; }
  const std::string& impl() const { return impl_; }
  // False where oneDNN reports a failure.
  bool run(int slot, const void* x, const void* w, float* acc, void* scratch) const;

 private:
  struct Slot {
    dnnl::memory x, w, acc, scratch;
  };
  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::matmul::primitive_desc pd_;
  dnnl::matmul primitive_;
  std::size_t scratch_bytes_;
  std::string impl_;
  std::vector<Slot> slots_;
};

// The CPU backend's state in a Context.
class CpuState : public BackendState {
 public:
  // Keeps at most `limit` primitives, so that memory is bounded whatever shapes come. A tiling
  // holds fewer than `least` of them at a time.
  static constexpr std::size_t least = 16;
  explicit CpuState(std::size_t limit = 2048);
  // The primitive, or null where oneDNN has only its reference code for the shape (which is slower
  // than ours) or none. Valid until as many others as are kept were asked for.
  Matmul* find(const MatmulShape& shape, int slots);
  std::size_t kept() const { return by_shape_.size(); }
  const dnnl::engine& engine() const { return engine_; }

 private:
  dnnl::engine engine_;
  struct Entry {
    MatmulShape shape;
    std::unique_ptr<Matmul> matmul;
  };
  std::size_t limit_;
  std::list<Entry> entries_;  // the last one asked for first
  std::unordered_map<MatmulShape, std::list<Entry>::iterator, MatmulShapeHash> by_shape_;
};

// Rows of the tiles that packed layouts are made for.
inline constexpr std::int64_t canonical_rows = 64;

dnnl::memory::data_type to_dnnl(DType dtype);

// oneDNN's layout for a packed panel (k, n), the same in every Context; a zero descriptor where it
// has no fast one.
dnnl::memory::desc packed_panel_desc(const dnnl::engine& engine, DType dtype, std::int64_t n,
                                     std::int64_t k);

CpuState& cpu_state(const ContextState& context);

}  // namespace detail
}  // namespace postlude
