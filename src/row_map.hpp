// RowMap: turns activations with any leading dimensions and strides into slabs of evenly spaced
// rows.
#pragma once

#include <cstdint>

#include "postlude/tensor_view.hpp"
#include "problem.hpp"

namespace postlude {
namespace detail {

// All activations of a call share their leading shape. Where every view's leading dimensions
// collapse into one row stride there is one slab; otherwise the call runs once a slab, over the
// outer dimensions that do not collapse.
class RowMap {
 public:
  // The leading shape of the call is x's. `x` is added too.
  explicit RowMap(const TensorView& x);

  // Absent views are ignored. The leading shape must equal x's (checked by the caller).
  void add(const TensorView& view);

  std::int64_t rows() const { return rows_; }    // in one slab
  std::int64_t slabs() const { return slabs_; }  // 0 where there are no rows at all
  // The rows of an added view (or an absent one) in one slab.
  Rows at(const TensorView& view, std::int64_t slab) const;

 private:
  int leading_ = 0;      // number of leading dimensions
  int inner_begin_ = 0;  // dimensions [inner_begin_, leading_) collapse
  std::int64_t rows_ = 1;
  std::int64_t slabs_ = 1;
  std::int64_t shape_[TensorView::max_rank] = {};
};

}  // namespace detail
}  // namespace postlude
