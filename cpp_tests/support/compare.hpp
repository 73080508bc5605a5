// Error measures, the one table of tolerances, and the assertions built on them.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "reference.hpp"
#include "support/tensor.hpp"

namespace postlude {
namespace test {

// Relative Frobenius error, and the worst element's error over the largest expected value.
struct Error {
  double frobenius = 0.0;
  double worst = 0.0;
  std::int64_t worst_index = 0;
  bool same_specials = true;  // NaN and infinities are in the same places
  std::int64_t special_index = 0;
};
Error error_of(const std::vector<double>& got, const std::vector<double>& expected);

// What is allowed.
struct Tolerance {
  double frobenius;
  double worst = 2.0 * frobenius;
};

// The floors of the numerical promise: 2e-6 for f32, 4e-3 for bf16, 5e-4 for f16.
Tolerance tolerance(DType dtype);
// The promise itself, with `plain` (the same formula in everyday arithmetic of that dtype) in the
// place of torch: 1.25 times its Frobenius error and twice its worst element, or the floor.
Tolerance tolerance(DType dtype, const std::vector<double>& plain,
                    const std::vector<double>& expected);

// NaN and infinities in the same places and both errors within the tolerance.
::testing::AssertionResult close(const std::vector<double>& got,
                                 const std::vector<double>& expected, Tolerance limit);
::testing::AssertionResult close(const Tensor& got, const reference::Matrix& expected);

// Bit for bit the expected values rounded once: for inputs with which no sum in fp32 can round.
::testing::AssertionResult exact(const Tensor& got, const reference::Matrix& expected);

// Within half an ulp of the dtype of a value that is `slack` from the expected one: rounded once,
// nothing before.
::testing::AssertionResult rounded_once(const Tensor& got, const reference::Matrix& expected,
                                        const std::vector<double>& slack);
::testing::AssertionResult rounded_once(const Tensor& got, const reference::Matrix& expected,
                                        double slack);

// The same bytes, element by element.
::testing::AssertionResult same_bits(const Tensor& a, const Tensor& b);

// Every value rounded to the dtype, as if the matrix had been stored.
reference::Matrix stored(DType dtype, reference::Matrix matrix);

}  // namespace test
}  // namespace postlude
