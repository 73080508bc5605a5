// GemmCase: one product as a backend's kernels get it, on small integers, and what the memory of
// its output must hold afterwards, byte for byte.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cases.hpp"
#include "problem.hpp"
#include "support/random.hpp"

namespace postlude {
namespace test {

// A matrix within a buffer of 0xff bytes, which are NaN in every float type: `stride` elements from
// row to row, one more row before and two after it. Copies share the memory on the device.
class Image {
 public:
  Image(Device device, DType dtype, std::int64_t rows, std::int64_t cols, std::int64_t stride);

  void set(std::int64_t row, std::int64_t col, double value);
  double get(std::int64_t row, std::int64_t col) const;
  // To and from the device. Both wait for all work there.
  void upload();
  void download();
  // On the device, after an upload.
  detail::Rows rows() const;

  // Where these bytes differ from those expected, or an empty string. Elements may be off by the
  // `slack` of their place, if there are any slacks.
  std::string difference(const Image& expected, const std::vector<double>& slack = {}) const;

 private:
  std::size_t at(std::int64_t row, std::int64_t col) const;

  Device device_;
  DType dtype_;
  std::int64_t rows_, cols_, stride_;
  std::vector<std::uint8_t> bytes_;
  std::shared_ptr<void> memory_;
};

// rows * cols integers in [-limit, limit].
std::vector<std::int16_t> integers(Random& random, std::int64_t count, int limit);
// x (m, k) times the transposed weight (n, k), where no sum passes 2^31.
std::vector<std::int32_t> multiply(const std::vector<std::int16_t>& x,
                                   const std::vector<std::int16_t>& weight, GemmShape shape);
// The matrix (rows, cols), its rows at a multiple of 16 bytes and `more` elements further apart.
template <class Integer>
Image image_of(Device device, DType dtype, const std::vector<Integer>& values, std::int64_t cols,
               std::int64_t more = 0) {
  const std::int64_t rows = static_cast<std::int64_t>(values.size()) / cols;
  Image image(device, dtype, rows, cols, (cols + 7) / 8 * 8 + more);
  for (std::int64_t i = 0; i < rows * cols; ++i) {
    image.set(i / cols, i % cols, static_cast<double>(values[static_cast<std::size_t>(i)]));
  }
  return image;
}

// out = x weight^T and nothing else, of operands of one dtype; `n` weight rows.
detail::Gemm bare_gemm(const detail::Rows& x, const detail::Rows& weight, const detail::Rows& out,
                       GemmShape shape);

// Operands whose sums are exact, shared by many cases. n counts columns of out.
struct Product {
  Product(GemmShape shape, bool gated);

  GemmShape shape;
  bool gated;
  std::vector<std::int16_t> x, weight;
  std::vector<std::int32_t> sums;  // m rows of a sum for each row of the weight

  std::int64_t weight_rows() const { return gated ? 2 * shape.n : shape.n; }
};

// How far apart the rows of out and of the residual are.
enum class Spacing {
  tight,  // not at all
  wide,   // more than they need, at multiples of 16 bytes
  odd,    // at no multiple of 16 bytes; the bias starts at none either
};

enum class Adds { nothing, residual, out };  // out: the residual is what out holds

struct EpilogueCase {
  const char* name = "";
  bool gated = false;
  GateLayout layout = GateLayout::gate_up;
  Activation activation = Activation::none;
  float clamp = 0.0f;
  float alpha = 1.0f;
  bool bias = false;
  bool bias_f32 = false;
  bool shift = false;
  bool row_scale = false;
  bool mean = false;  // row_mean and col_sum
  bool col_scale = false;
  bool one_scale = false;  // a single row_scale and col_scale for all
  bool out_f32 = false;    // and the residual
  Adds adds = Adds::nothing;
  Spacing spacing = Spacing::tight;

  // Whether nothing rounds before the one rounding of out.
  bool exact() const;
};

class GemmCase {
 public:
  GemmCase(Device device, const Product& product, const EpilogueCase& epilogue, DType dtype);

  const detail::Gemm& gemm() const { return gemm_; }
  // Fills out's memory with what it holds before a run.
  void reset() { out_.upload(); }
  // What a run left wrong, or an empty string.
  std::string difference() const;

 private:
  // A vector of floats on the device; `values` stays for the expected result.
  struct Numbers {
    std::vector<double> values;
    std::shared_ptr<void> memory;
    detail::Vector vector;

    double at(std::int64_t i, double absent) const;
  };
  // Integers up to 3, or powers of two.
  Numbers numbers(std::int64_t count, DType dtype, bool powers, std::int64_t offset = 0);
  // The product of a row of x and a row of the weight, with all that precedes the activation.
  double finished_sum(std::int64_t m, std::int64_t weight_row) const;
  void expect(std::int64_t m, std::int64_t column);
  Image outputs(std::int64_t more) const;

  Device device_;
  const Product& product_;
  EpilogueCase epilogue_;
  DType dtype_, out_dtype_;
  Random random_;
  Numbers row_scale_, row_mean_, col_scale_, col_sum_, bias_, shift_;
  Image x_, weight_, residual_;
  Image out_;  // its bytes here are those before a run
  Image expected_;
  std::vector<double> slack_;
  detail::Gemm gemm_;
};

}  // namespace test
}  // namespace postlude
