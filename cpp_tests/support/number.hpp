// Conversions between double and the library's element types, rounded once, to nearest even.
#pragma once

#include "postlude/tensor_view.hpp"

namespace postlude {
namespace test {

// The value of `dtype` nearest to x, ties to even, overflow to infinity; for i8 saturated to [-128,
// 127].
double round_to(DType dtype, double x);
// The value of the bits of one element.
double decode(DType dtype, const void* bytes);
// Writes round_to(dtype, x) as one element.
void encode(DType dtype, double x, void* bytes);

}  // namespace test
}  // namespace postlude
