// Tensor: owning memory of a device with any strides, surrounded and interleaved by canaries that
// are NaN in any dtype.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "postlude/tensor_view.hpp"
#include "reference.hpp"
#include "support/random.hpp"

namespace postlude {
namespace test {

using Shape = std::vector<std::int64_t>;

// Where a tensor's elements lie: strides in elements (row-major contiguous if empty) and an offset
// in elements that spoils the alignment.
struct Layout {
  Shape shape;
  Shape strides;
  std::int64_t offset = 0;
};

class Tensor {
 public:
  // Absent: view() is the absent view.
  Tensor() = default;
  // All bytes are 0xFF: every element is a NaN (or -1), and so is every byte that is no element.
  Tensor(Device device, DType dtype, Layout layout);

  explicit operator bool() const { return static_cast<bool>(view_); }
  const TensorView& view() const { return view_; }
  operator const TensorView&() const {
    return view_;
  }  // NOLINT: a Tensor is passed where a view is expected
  DType dtype() const { return view_.dtype(); }

  // Writes values in row-major order, each rounded once; where elements share memory the last one
  // stays.
  Tensor& set(const std::vector<double>& values);
  // Writes random bits into every element, NaN payloads among them.
  Tensor& set_random_bits(Random& random);
  // The present values in row-major order; `matrix` has all leading dimensions as rows.
  std::vector<double> get() const;
  reference::Matrix matrix() const;
  reference::Vector vector() const { return get(); }
  // The bytes of every element in row-major order.
  std::vector<std::uint8_t> bits() const;

  // Whether no byte changed since the last set, or no byte apart from the elements.
  bool unchanged() const { return download() == host_; }
  bool canaries_intact() const;

 private:
  std::vector<std::uint8_t> download() const;
  // The position in bytes of element i of the row-major order.
  std::size_t position(std::int64_t i) const;

  Device device_;
  TensorView view_;
  std::shared_ptr<void> data_;
  std::vector<std::uint8_t> host_;  // as last written
  std::size_t origin_ = 0;          // bytes before the element at index 0
};

// Row-major (rows, cols) whose rows are `pad` elements apart and which starts `offset` elements
// past an aligned address.
Layout padded(Shape shape, std::int64_t pad, std::int64_t offset = 0);
// (rows, cols) with stride 1 along the rows, as a matrix stored [cols, rows].
Layout transposed(std::int64_t rows, std::int64_t cols, std::int64_t pad = 0);

// Normal values times `scale`, plus `mean`.
Tensor randn(Device device, DType dtype, Layout layout, Random& random, double scale = 1.0,
             double mean = 0.0);
// Integers in [-limit, limit], each non-zero with probability `density`.
Tensor randint(Device device, DType dtype, Layout layout, Random& random, std::int64_t limit,
               double density = 1.0);
// The values given, in a contiguous tensor.
Tensor tensor(Device device, DType dtype, Shape shape, const std::vector<double>& values);

}  // namespace test
}  // namespace postlude
