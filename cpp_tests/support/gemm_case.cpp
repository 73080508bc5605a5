// Builds a GemmCase and compares what it left: see gemm_case.hpp.
#include "support/gemm_case.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <sstream>

#include "reference.hpp"
#include "support/device.hpp"
#include "support/number.hpp"

namespace postlude {
namespace test {
namespace {

constexpr std::int64_t rows_before = 1, rows_after = 2;

std::int64_t in_sixteen_bytes(std::int64_t cols) { return (cols + 7) / 8 * 8; }

std::int64_t stride_of(std::int64_t cols, Spacing spacing, std::int64_t more) {
  switch (spacing) {
    case Spacing::wide:
      return in_sixteen_bytes(cols) + more;
    case Spacing::odd:
      return in_sixteen_bytes(cols) + more + 3;
    default:
      return cols;
  }
}

}  // namespace

Image::Image(Device device, DType dtype, std::int64_t rows, std::int64_t cols, std::int64_t stride)
    : device_(device), dtype_(dtype), rows_(rows), cols_(cols), stride_(stride) {
  bytes_.assign(
      static_cast<std::size_t>((rows + rows_before + rows_after) * stride) * size_of(dtype), 0xff);
}

std::size_t Image::at(std::int64_t row, std::int64_t col) const {
  return static_cast<std::size_t>((row + rows_before) * stride_ + col) * size_of(dtype_);
}

void Image::set(std::int64_t row, std::int64_t col, double value) {
  encode(dtype_, value, bytes_.data() + at(row, col));
}

double Image::get(std::int64_t row, std::int64_t col) const {
  return decode(dtype_, bytes_.data() + at(row, col));
}

void Image::upload() {
  if (memory_ == nullptr) memory_ = allocate(device_, bytes_.size());
  copy_to_device(device_, memory_.get(), bytes_.data(), bytes_.size());
  synchronize(device_);
}

void Image::download() { copy_to_host(device_, bytes_.data(), memory_.get(), bytes_.size()); }

detail::Rows Image::rows() const {
  return {static_cast<char*>(memory_.get()) + at(0, 0), dtype_, stride_, true};
}

std::string Image::difference(const Image& expected, const std::vector<double>& slack) const {
  if (bytes_ == expected.bytes_) return {};
  const std::size_t size = size_of(dtype_);
  for (std::size_t i = 0; i * size < bytes_.size(); ++i) {
    const std::uint8_t* ours = bytes_.data() + i * size;
    if (std::memcmp(ours, expected.bytes_.data() + i * size, size) == 0) continue;
    const std::int64_t row = static_cast<std::int64_t>(i) / stride_ - rows_before;
    const std::int64_t col = static_cast<std::int64_t>(i) % stride_;
    const bool inside = row >= 0 && row < rows_ && col < cols_;
    const double got = decode(dtype_, ours);
    std::ostringstream text;
    text << "[" << row << ", " << col << "] of (" << rows_ << ", " << cols_ << ") ";
    if (!inside) {
      text << "is outside and was written: " << got;
      return text.str();
    }
    const double want = expected.get(row, col);
    const double allowed = slack.empty() ? 0.0 : slack[static_cast<std::size_t>(row * cols_ + col)];
    // Zeros of either sign are equal.
    if (got == want || std::fabs(got - want) <= allowed) continue;
    text << "is " << got << ", expected " << want;
    if (allowed > 0.0) text << " +- " << allowed;
    return text.str();
  }
  return {};
}

std::vector<std::int16_t> integers(Random& random, std::int64_t count, int limit) {
  std::vector<std::int16_t> values(static_cast<std::size_t>(count));
  for (std::int16_t& value : values) {
    value = static_cast<std::int16_t>(random.integer(-limit, limit));
  }
  return values;
}

std::vector<std::int32_t> multiply(const std::vector<std::int16_t>& x,
                                   const std::vector<std::int16_t>& weight, GemmShape shape) {
  const auto [m, n, k] = shape;
  std::vector<std::int32_t> sums(static_cast<std::size_t>(m * n));
  for (std::int64_t i = 0; i < m * n; ++i) {
    const std::int16_t* a = x.data() + i / n * k;
    const std::int16_t* b = weight.data() + i % n * k;
    std::int32_t sum = 0;
    for (std::int64_t j = 0; j < k; ++j) sum += a[j] * b[j];
    sums[static_cast<std::size_t>(i)] = sum;
  }
  return sums;
}

detail::Gemm bare_gemm(const detail::Rows& x, const detail::Rows& weight, const detail::Rows& out,
                       GemmShape shape) {
  detail::Gemm g;
  g.op = "test";
  g.m = shape.m;
  g.n = shape.n;
  g.k = shape.k;
  g.x = x;
  g.weight.data = weight.data;
  g.weight.dtype = weight.dtype;
  g.weight.stride_n = weight.stride;
  g.weight.stride_k = 1;
  g.out = out;
  return g;
}

Product::Product(GemmShape s, bool is_gated) : shape(s), gated(is_gated) {
  Random random(static_cast<std::uint64_t>(s.m * 1000003 + s.n * 1009 + s.k));
  x = integers(random, s.m * s.k, 2);
  weight = integers(random, weight_rows() * s.k, 1);
  sums = multiply(x, weight, {s.m, weight_rows(), s.k});
}

bool EpilogueCase::exact() const {
  return activation == Activation::none || activation == Activation::relu ||
         activation == Activation::relu2;
}

double GemmCase::Numbers::at(std::int64_t i, double absent) const {
  return reference::at<double>(values, i, absent);
}

GemmCase::Numbers GemmCase::numbers(std::int64_t count, DType dtype, bool powers,
                                    std::int64_t offset) {
  Numbers result;
  const std::size_t size = size_of(dtype);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(offset + count) * size, 0xff);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t random = random_.integer(powers ? -1 : -3, powers ? 1 : 3);
    const double value =
        powers ? std::ldexp(1.0, static_cast<int>(random)) : static_cast<double>(random);
    result.values.push_back(value);
    encode(dtype, value, bytes.data() + static_cast<std::size_t>(offset + i) * size);
  }
  result.memory = allocate(device_, bytes.size());
  copy_to_device(device_, result.memory.get(), bytes.data(), bytes.size());
  const char* data =
      static_cast<const char*>(result.memory.get()) + static_cast<std::size_t>(offset) * size;
  result.vector = {data, dtype, true, powers && count == 1};
  return result;
}

Image GemmCase::outputs(std::int64_t more) const {
  const auto [m, n, k] = product_.shape;
  return Image(device_, out_dtype_, m, n, stride_of(n, epilogue_.spacing, more));
}

GemmCase::GemmCase(Device device, const Product& product, const EpilogueCase& epilogue, DType dtype)
    : device_(device),
      product_(product),
      epilogue_(epilogue),
      dtype_(dtype),
      out_dtype_(epilogue.out_f32 ? DType::f32 : dtype),
      random_(7),
      x_(image_of(device, dtype, product.x, product.shape.k,
                  epilogue.spacing == Spacing::tight ? 0 : 8)),
      weight_(image_of(device, dtype, product.weight, product.shape.k,
                       epilogue.spacing == Spacing::tight ? 0 : 16)),
      residual_(outputs(16)),
      out_(outputs(8)),
      expected_(outputs(8)) {
  const auto [m, n, k] = product.shape;
  const std::int64_t weight_rows = product.weight_rows();
  const EpilogueCase& e = epilogue_;
  if (e.row_scale) row_scale_ = numbers(e.one_scale ? 1 : m, DType::f32, true);
  if (e.col_scale) col_scale_ = numbers(e.one_scale ? 1 : weight_rows, DType::f32, true);
  if (e.mean) {
    row_mean_ = numbers(m, DType::f32, false);
    col_sum_ = numbers(weight_rows, DType::f32, false);
  }
  if (e.shift) shift_ = numbers(weight_rows, DType::f32, false);
  const std::int64_t bias_offset = e.spacing == Spacing::odd ? 1 : 0;
  if (e.bias) {
    bias_ = numbers(weight_rows, e.bias_f32 ? DType::f32 : dtype, false, bias_offset);
  }
  if (!e.exact()) slack_.resize(static_cast<std::size_t>(m * n));
  for (std::int64_t i = 0; i < m * n; ++i) expect(i / n, i % n);
  x_.upload();
  weight_.upload();
  residual_.upload();
  out_.upload();

  gemm_ = bare_gemm(x_.rows(), weight_.rows(), out_.rows(), {m, n, k});
  gemm_.row_scale = row_scale_.vector;
  gemm_.row_mean = row_mean_.vector;
  gemm_.col_scale = col_scale_.vector;
  gemm_.col_sum = col_sum_.vector;
  gemm_.bias = bias_.vector;
  gemm_.shift = shift_.vector;
  gemm_.activation = e.activation;
  gemm_.gated = e.gated;
  gemm_.layout = e.layout;
  gemm_.clamp = e.clamp;
  gemm_.alpha = e.alpha;
  if (e.adds == Adds::residual) gemm_.residual = residual_.rows();
  if (e.adds == Adds::out) gemm_.residual = out_.rows();
}

double GemmCase::finished_sum(std::int64_t m, std::int64_t weight_row) const {
  const auto place = static_cast<std::size_t>(m * product_.weight_rows() + weight_row);
  const double sum = product_.sums[place] - row_mean_.at(m, 0.0) * col_sum_.at(weight_row, 0.0);
  return row_scale_.at(m, 1.0) * col_scale_.at(weight_row, 1.0) * sum + bias_.at(weight_row, 0.0) +
         shift_.at(weight_row, 0.0);
}

void GemmCase::expect(std::int64_t m, std::int64_t column) {
  const EpilogueCase& e = epilogue_;
  const std::int64_t n = product_.shape.n;
  const bool up_first = e.gated && e.layout == GateLayout::up_gate;
  double gate = finished_sum(m, column + (up_first ? n : 0));
  double up = e.gated ? finished_sum(m, column + (up_first ? 0 : n)) : 1.0;
  if (e.gated && e.clamp > 0.0f) {
    const double limit = static_cast<double>(e.clamp);
    gate = std::min(gate, limit);
    up = std::clamp(up, -limit, limit);
  }
  const double alpha = static_cast<double>(e.alpha);
  double value = alpha * reference::activate<double>(e.activation, gate) * up;
  double residual = 0.0;
  if (e.adds != Adds::nothing) {
    residual = static_cast<double>(random_.integer(-100, 100));
    (e.adds == Adds::out ? out_ : residual_).set(m, column, residual);
  }
  value += residual;
  expected_.set(m, column, value);
  if (!slack_.empty()) {
    // Activations are good to 2^-20 of their argument; twice that, and one ulp of out, because the
    // rounding may go the other way.
    const double ulp = out_dtype_ == DType::f32 ? 0x1p-23 : dtype_ == DType::f16 ? 0x1p-10 : 0x1p-7;
    slack_[static_cast<std::size_t>(m * n + column)] =
        std::fabs(alpha * gate * up) * 0x1p-19 + std::fabs(value) * ulp + 0x1p-24;
  }
}

std::string GemmCase::difference() const {
  Image left = out_;
  left.download();
  return left.difference(expected_, slack_);
}

}  // namespace test
}  // namespace postlude
