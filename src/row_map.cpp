// RowMap: see row_map.hpp.
#include "row_map.hpp"

namespace postlude {
namespace detail {
namespace {

// The stride between the rows of dimensions [begin, leading) of a view whose sizes there collapse.
std::int64_t row_stride(const TensorView& view, int begin, int leading) {
  for (int d = leading - 1; d >= begin; --d) {
    if (view.size(d) != 1) return view.stride(d);
  }
  return view.rank() > leading ? view.size(leading) : 0;
}

// Whether dimensions d and those after it advance evenly.
bool collapses(const TensorView& view, int d, int leading) {
  if (view.size(d) == 1) return true;
  std::int64_t inner_rows = 1;
  for (int i = d + 1; i < leading; ++i) inner_rows *= view.size(i);
  return inner_rows == 1 || view.stride(d) == inner_rows * row_stride(view, d + 1, leading);
}

}  // namespace

RowMap::RowMap(const TensorView& x) : leading_(x.rank() - 1) {
  for (int d = 0; d < leading_; ++d) {
    shape_[d] = x.size(d);
    rows_ *= x.size(d);
  }
  if (rows_ == 0) slabs_ = 0;
  add(x);
}

void RowMap::add(const TensorView& view) {
  if (!view || slabs_ == 0) return;
  for (int d = leading_ - 1; d >= inner_begin_; --d) {
    if (!collapses(view, d, leading_)) {
      inner_begin_ = d + 1;
      break;
    }
  }
  rows_ = slabs_ = 1;
  for (int d = 0; d < leading_; ++d) (d < inner_begin_ ? slabs_ : rows_) *= shape_[d];
}

Rows RowMap::at(const TensorView& view, std::int64_t slab) const {
  Rows rows;
  if (!view) return rows;
  std::int64_t offset = 0;
  for (int d = inner_begin_ - 1; d >= 0; --d) {
    offset += slab % shape_[d] * view.stride(d);
    slab /= shape_[d];
  }
  rows.present = true;
  rows.dtype = view.dtype();
  rows.data = view.data();
  if (view.numel() == 0) return rows;  // a null pointer, perhaps, from which nothing may step
  rows.stride = row_stride(view, inner_begin_, leading_);
  if (offset != 0) {
    rows.data =
        static_cast<char*>(view.data()) + offset * static_cast<std::int64_t>(size_of(view.dtype()));
  }
  return rows;
}

}  // namespace detail
}  // namespace postlude
