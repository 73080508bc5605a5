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

constexpr std::int64_t irregular = -1;

// The period after which a view's innermost rows repeat, in bytes: all outer strides are multiples of it. 0 for a single
// row, `irregular` where there is no period.
std::int64_t row_period(const TensorView& v) {
  std::int64_t period = 0;
  if (v.rank() > 0 && v.size(-1) > 1 && v.stride(-1) != 1) return irregular;
  for (int d = v.rank() - 2; d >= 0; --d) {
    if (v.size(d) <= 1) continue;
    const std::int64_t stride = v.stride(d);
    if (stride <= 0) return irregular;
    if (period == 0) period = stride;
    if (stride % period != 0) return irregular;
  }
  return period * static_cast<std::int64_t>(size_of(v.dtype()));
}

std::int64_t row_bytes(const TensorView& v) {
  return v.rank() == 0 ? static_cast<std::int64_t>(size_of(v.dtype()))
                       : v.size(-1) * static_cast<std::int64_t>(size_of(v.dtype()));
}

}  // namespace

bool overlap(const TensorView& a, const TensorView& b) {
  if (!a || !b || a.numel() == 0 || b.numel() == 0 || a.device() != b.device()) return false;
  const Extent ea = extent(a);
  const Extent eb = extent(b);
  if (ea.end <= eb.begin || eb.end <= ea.begin) return false;
  // Column slices of rows with one period: disjoint where their column ranges are.
  const std::int64_t pa = row_period(a);
  const std::int64_t pb = row_period(b);
  const std::int64_t period = pa != 0 ? pa : pb;
  if (pa == irregular || pb == irregular || period == 0) return true;
  if (pa != 0 && pb != 0 && pa != pb) return true;
  const std::int64_t distance = ((eb.begin - ea.begin) % period + period) % period;
  const std::int64_t wa = row_bytes(a);
  const std::int64_t wb = row_bytes(b);
  return distance < wa || distance + wb > period;
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
    for (; place > 0 && magnitude(order[place - 1]) > magnitude(d); --place) order[place] = order[place - 1];
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
  if (!a || !b || a.data() != b.data() || a.dtype() != b.dtype() || a.rank() != b.rank()) return false;
  for (int d = 0; d < a.rank(); ++d) {
    if (a.size(d) != b.size(d) || (a.size(d) > 1 && a.stride(d) != b.stride(d))) return false;
  }
  return true;
}

}  // namespace detail
}  // namespace postlude
