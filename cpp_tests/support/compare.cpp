// How errors are measured, and what the assertions say when they fail.
#include "support/compare.hpp"

#include <algorithm>
#include <cmath>

#include "support/number.hpp"

namespace postlude {
namespace test {

namespace {

bool same_special(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  if (std::isinf(a) || std::isinf(b)) return a == b;
  return true;
}

::testing::AssertionResult size_mismatch(std::size_t got, std::size_t expected) {
  return ::testing::AssertionFailure() << got << " elements, expected " << expected;
}

}  // namespace

Error error_of(const std::vector<double>& got, const std::vector<double>& expected) {
  Error error;
  double difference = 0.0, square = 0.0, largest = 0.0, worst = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const std::int64_t index = static_cast<std::int64_t>(i);
    if (!same_special(got[i], expected[i])) {
      if (error.same_specials) error.special_index = index;
      error.same_specials = false;
    }
    if (!std::isfinite(got[i]) || !std::isfinite(expected[i])) continue;
    const double d = std::fabs(got[i] - expected[i]);
    difference += d * d;
    square += expected[i] * expected[i];
    largest = std::max(largest, std::fabs(expected[i]));
    if (d > worst) error.worst_index = index;
    worst = std::max(worst, d);
  }
  const double infinite = std::numeric_limits<double>::infinity();
  error.frobenius = difference == 0.0 ? 0.0
                    : square == 0.0   ? infinite
                                      : std::sqrt(difference / square);
  error.worst = worst == 0.0 ? 0.0 : largest == 0.0 ? infinite : worst / largest;
  return error;
}

Tolerance tolerance(DType dtype) {
  switch (dtype) {
    case DType::bf16:
      return {4e-3};
    case DType::f16:
      return {5e-4};
    default:
      return {2e-6};
  }
}

Tolerance tolerance(DType dtype, const std::vector<double>& plain,
                    const std::vector<double>& expected) {
  const Tolerance floor = tolerance(dtype);
  const Error error = error_of(plain, expected);
  return {std::max(floor.frobenius, 1.25 * error.frobenius),
          std::max(floor.worst, 2.0 * error.worst + floor.frobenius)};
}

::testing::AssertionResult close(const std::vector<double>& got,
                                 const std::vector<double>& expected, Tolerance limit) {
  if (got.size() != expected.size()) return size_mismatch(got.size(), expected.size());
  const Error error = error_of(got, expected);
  if (!error.same_specials) {
    const std::size_t i = static_cast<std::size_t>(error.special_index);
    return ::testing::AssertionFailure()
           << "element " << i << " is " << got[i] << ", expected " << expected[i];
  }
  if (error.frobenius <= limit.frobenius && error.worst <= limit.worst) {
    return ::testing::AssertionSuccess();
  }
  const std::size_t i = static_cast<std::size_t>(error.worst_index);
  return ::testing::AssertionFailure()
         << "relative Frobenius error " << error.frobenius << " (limit " << limit.frobenius
         << "), worst element over the largest " << error.worst << " (limit " << limit.worst
         << ") at " << i << ": " << got[i] << ", expected " << expected[i];
}

::testing::AssertionResult close(const Tensor& got, const reference::Matrix& expected) {
  return close(got.get(), expected.values, tolerance(got.dtype()));
}

::testing::AssertionResult exact(const Tensor& got, const reference::Matrix& expected) {
  return rounded_once(got, expected, 0.0);
}

::testing::AssertionResult rounded_once(const Tensor& got, const reference::Matrix& expected,
                                        const std::vector<double>& slack) {
  const std::vector<double> values = got.get();
  if (values.size() != expected.values.size()) {
    return size_mismatch(values.size(), expected.values.size());
  }
  std::size_t wrong = 0, first = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double want = expected.values[i], margin = slack.size() == 1 ? slack[0] : slack[i];
    // Rounding is monotonic, so these are the ends of what one rounding may give.
    const double low = round_to(got.dtype(), want - margin);
    const double high = round_to(got.dtype(), want + margin);
    const bool good =
        std::isnan(want) ? std::isnan(values[i]) : low <= values[i] && values[i] <= high;
    if (good) continue;
    if (wrong == 0) first = i;
    ++wrong;
  }
  if (wrong == 0) return ::testing::AssertionSuccess();
  const double margin = slack.size() == 1 ? slack[0] : slack[first];
  return ::testing::AssertionFailure()
         << wrong << " of " << values.size() << " elements are off; the first, " << first << ", is "
         << values[first] << ", expected " << expected.values[first] << " +- " << margin
         << " rounded to " << round_to(got.dtype(), expected.values[first]);
}

::testing::AssertionResult rounded_once(const Tensor& got, const reference::Matrix& expected,
                                        double slack) {
  return rounded_once(got, expected, std::vector<double>{slack});
}

::testing::AssertionResult same_bits(const Tensor& a, const Tensor& b) {
  const std::vector<std::uint8_t> left = a.bits(), right = b.bits();
  if (left.size() != right.size()) return size_mismatch(left.size(), right.size());
  const auto difference = std::mismatch(left.begin(), left.end(), right.begin());
  if (difference.first == left.end()) return ::testing::AssertionSuccess();
  const std::size_t i =
      static_cast<std::size_t>(difference.first - left.begin()) / size_of(a.dtype());
  return ::testing::AssertionFailure() << "the bits differ, first in element " << i << ": "
                                       << a.get()[i] << " and " << b.get()[i];
}

reference::Matrix stored(DType dtype, reference::Matrix matrix) {
  for (double& value : matrix.values) value = round_to(dtype, value);
  return matrix;
}

}  // namespace test
}  // namespace postlude
