// Copies and quantisation of plain matrices on the CPU.
#pragma once

#include "backend.hpp"

namespace postlude {
namespace detail {

void copy_plain_rows(const Rows& from, const Rows& to, std::int64_t m, std::int64_t h);
void copy_plain_matrix(const TensorView& from, const TensorView& to);
void quantize_matrix(const TensorView& weight, const QuantizeOptions& options, const TensorView& q,
                     const TensorView& scales);

}  // namespace detail
}  // namespace postlude
