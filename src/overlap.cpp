// Whether two views share an element: see overlap.hpp.
#include "overlap.hpp"

#include <cstdint>

namespace postlude {
namespace detail {
namespace {

struct Extent {
  std::int64_t begin;  // byte addresses
  std::int64_t end;
};

Extent extent(const TensorView& v) {
  const auto bytes = static_cast<std::int64_t>(size_of(v.dtype()));
  Extent e{0, bytes};
  for (int d = 0; d < v.rank(); ++d) {
    const std::int64_t span = (v.size(d) - 1) * v.stride(d) * bytes;
    (span < 0 ? e.begin : e.end) += span;
  }
  const auto base = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(v.data()));
  return Extent{e.begin + base, e.end + base};
}

// What the dimensions span whose strides are not multiples of `period` bytes; the others repeat it
// at multiples.
Extent inner_extent(const TensorView& v, std::int64_t period) {
  const auto bytes = static_cast<std::int64_t>(size_of(v.dtype()));
  Extent e{0, bytes};
  for (int d = 0; d < v.rank(); ++d) {
    const std::int64_t stride = v.stride(d) * bytes;
    if (v.size(d) <= 1 || stride % period == 0) continue;
    (stride < 0 ? e.begin : e.end) += (v.size(d) - 1) * stride;
  }
  const auto base = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(v.data()));
  return Extent{e.begin + base, e.end + base};
}

// Whether, seen modulo the period, the two views keep to different parts of it.
bool apart(const TensorView& a, const TensorView& b, std::int64_t period) {
  const Extent ea = inner_extent(a, period);
  const Extent eb = inner_extent(b, period);
  const std::int64_t distance = ((eb.begin - ea.begin) % period + period) % period;
  return ea.end - ea.begin <= distance && distance + (eb.end - eb.begin) <= period;
}

// Whether some stride of `strides` shows the two views apart.
bool apart_by_strides(const TensorView& strides, const TensorView& a, const TensorView& b) {
  for (int d = 0; d < strides.rank(); ++d) {
    const std::int64_t stride =
        strides.stride(d) * static_cast<std::int64_t>(size_of(strides.dtype()));
    if (strides.size(d) > 1 && stride != 0 && apart(a, b, stride < 0 ? -stride : stride))
      return true;
  }
  return false;
}

// Whether the view has elements in memory. Calls are also sized and explained for tensors that are
// yet to be made: they overlap nothing.
bool has_memory(const TensorView& v) { return v && v.data() != nullptr && v.numel() > 0; }

}  // namespace

bool overlap(const TensorView& a, const TensorView& b) {
  if (!has_memory(a) || !has_memory(b) || a.device() != b.device()) return false;
  const Extent ea = extent(a);
  const Extent eb = extent(b);
  if (ea.end <= eb.begin || eb.end <= ea.begin) return false;
  return !apart_by_strides(a, a, b) && !apart_by_strides(b, a, b);
}

bool overlaps_itself(const TensorView& v) {
  if (v.numel() <= 1) return false;
  // In order of stride, each dimension must step over all that the smaller ones span.
  int order[TensorView::max_rank];
  int count = 0;
  const auto magnitude = [&](int d) { return v.stride(d) < 0 ? -v.stride(d) : v.stride(d); };
  for (int d = 0; d < v.rank(); ++d) {
    if (v.size(d) <= 1) continue;
    int place = count++;
    for (; place > 0 && magnitude(order[place - 1]) > magnitude(d); --place)
      order[place] = order[place - 1];
    order[place] = d;
  }
  std::int64_t span = 1;
  for (int i = 0; i < count; ++i) {
    if (magnitude(order[i]) < span) return true;
    span += (v.size(order[i]) - 1) * magnitude(order[i]);
  }
  return false;
}

bool same_memory(const TensorView& a, const TensorView& b) {
  if (!has_memory(a) || !has_memory(b) || a.data() != b.data() || a.dtype() != b.dtype() ||
      a.rank() != b.rank()) {
    return false;
  }
  for (int d = 0; d < a.rank(); ++d) {
    if (a.size(d) != b.size(d) || (a.size(d) > 1 && a.stride(d) != b.stride(d))) return false;
  }
  return true;
}

}  // namespace detail
}  // namespace postlude
