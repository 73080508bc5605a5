// The memory behind Tensor: one host copy of what was written, one buffer on the device.
#include "support/tensor.hpp"

#include <algorithm>
#include <stdexcept>

#include "support/device.hpp"
#include "support/number.hpp"

namespace postlude {
namespace test {

namespace {

// Under AddressSanitizer the allocation ends where the elements end, so that it sees a read past
// them.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t guard = 0;
#else
constexpr std::size_t guard = 256;
#endif

}  // namespace

Tensor::Tensor(Device device, DType dtype, Layout layout) : device_(device) {
  const int rank = static_cast<int>(layout.shape.size());
  if (layout.strides.empty()) {
    layout.strides.assign(layout.shape.size(), 1);
    for (int d = rank - 2; d >= 0; --d) {
      const std::size_t i = static_cast<std::size_t>(d);
      layout.strides[i] = layout.strides[i + 1] * std::max<std::int64_t>(layout.shape[i + 1], 1);
    }
  }
  std::int64_t low = 0, high = 0;  // the indices of the first and the last element in memory
  bool empty = false;
  for (std::size_t d = 0; d < layout.shape.size(); ++d) {
    const std::int64_t span = (layout.shape[d] - 1) * layout.strides[d];
    empty = empty || layout.shape[d] == 0;
    (span < 0 ? low : high) += span;
  }
  const std::size_t size = size_of(dtype);
  const std::size_t elements = empty ? 0 : static_cast<std::size_t>(high - low + 1);
  origin_ =
      guard +
      (static_cast<std::size_t>(layout.offset) + static_cast<std::size_t>(empty ? 0 : -low)) * size;
  const std::size_t first = guard + static_cast<std::size_t>(layout.offset) * size;
  host_.assign(first + elements * size + guard, 0xff);
  data_ = allocate(device, host_.size());
  copy_to_device(device, data_.get(), host_.data(), host_.size());
  view_ = TensorView(static_cast<char*>(data_.get()) + origin_, dtype, rank, layout.shape.data(),
                     layout.strides.data(), device);
}

std::size_t Tensor::position(std::int64_t i) const {
  std::int64_t index = 0;
  for (int d = view_.rank() - 1; d >= 0; --d) {
    index += i % view_.size(d) * view_.stride(d);
    i /= view_.size(d);
  }
  return static_cast<std::size_t>(static_cast<std::int64_t>(origin_) +
                                  index * static_cast<std::int64_t>(size_of(dtype())));
}

std::vector<std::uint8_t> Tensor::download() const {
  std::vector<std::uint8_t> bytes(host_.size());
  if (data_ != nullptr) copy_to_host(device_, bytes.data(), data_.get(), bytes.size());
  return bytes;
}

Tensor& Tensor::set(const std::vector<double>& values) {
  if (static_cast<std::int64_t>(values.size()) != view_.numel()) {
    throw std::logic_error("Tensor::set: the values do not fill the shape");
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    encode(dtype(), values[i], host_.data() + position(static_cast<std::int64_t>(i)));
  }
  copy_to_device(device_, data_.get(), host_.data(), host_.size());
  return *this;
}

Tensor& Tensor::set_random_bits(Random& random) {
  for (std::int64_t i = 0; i < view_.numel(); ++i) {
    std::uint8_t* element = host_.data() + position(i);
    for (std::size_t b = 0; b < size_of(dtype()); ++b) {
      element[b] = static_cast<std::uint8_t>(random.bits());
    }
  }
  copy_to_device(device_, data_.get(), host_.data(), host_.size());
  return *this;
}

std::vector<double> Tensor::get() const {
  const std::vector<std::uint8_t> bytes = download();
  std::vector<double> values(static_cast<std::size_t>(view_.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = decode(dtype(), bytes.data() + position(static_cast<std::int64_t>(i)));
  }
  return values;
}

reference::Matrix Tensor::matrix() const {
  if (!view_) return {};
  std::int64_t rows = 1;
  for (int d = 0; d < view_.rank() - 1; ++d) rows *= view_.size(d);
  return {rows, view_.size(-1), get()};
}

std::vector<std::uint8_t> Tensor::bits() const {
  const std::vector<std::uint8_t> bytes = download();
  std::vector<std::uint8_t> result;
  for (std::int64_t i = 0; i < view_.numel(); ++i) {
    const std::uint8_t* element = bytes.data() + position(i);
    result.insert(result.end(), element, element + size_of(dtype()));
  }
  return result;
}

bool Tensor::canaries_intact() const {
  std::vector<std::uint8_t> bytes = download();
  for (std::int64_t i = 0; i < view_.numel(); ++i) {
    const std::size_t element = position(i);
    std::copy_n(host_.begin() + static_cast<std::ptrdiff_t>(element), size_of(dtype()),
                bytes.begin() + static_cast<std::ptrdiff_t>(element));
  }
  return bytes == host_;
}

Layout padded(Shape shape, std::int64_t pad, std::int64_t offset) {
  Shape strides(shape.size(), 1);
  for (std::size_t d = shape.size() - 1; d > 0; --d) {
    strides[d - 1] = strides[d] * std::max<std::int64_t>(shape[d], 1);
    if (d == shape.size() - 1) strides[d - 1] += pad;
  }
  return {std::move(shape), std::move(strides), offset};
}

Layout transposed(std::int64_t rows, std::int64_t cols, std::int64_t pad) {
  return {{rows, cols}, {1, std::max<std::int64_t>(rows, 1) + pad}, 0};
}

Tensor randn(Device device, DType dtype, Layout layout, Random& random, double scale, double mean) {
  Tensor result(device, dtype, std::move(layout));
  std::vector<double> values(static_cast<std::size_t>(result.view().numel()));
  for (double& value : values) value = mean + scale * random.normal();
  result.set(values);
  return result;
}

Tensor randint(Device device, DType dtype, Layout layout, Random& random, std::int64_t limit,
               double density) {
  Tensor result(device, dtype, std::move(layout));
  std::vector<double> values(static_cast<std::size_t>(result.view().numel()));
  for (double& value : values) {
    value = random.uniform() < density ? static_cast<double>(random.integer(-limit, limit)) : 0.0;
  }
  result.set(values);
  return result;
}

Tensor tensor(Device device, DType dtype, Shape shape, const std::vector<double>& values) {
  Tensor result(device, dtype, {std::move(shape), {}, 0});
  result.set(values);
  return result;
}

}  // namespace test
}  // namespace postlude
