// LinearCase: one linear call as a plain description, its tensors, and its check against the
// reference.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "cases.hpp"
#include "postlude/postlude.hpp"
#include "reference.hpp"
#include "support/setting.hpp"

namespace postlude {
namespace test {

enum class WeightForm { plain, transposed, packed, packed_transposed, int8_rows, int8_k };
enum class Scale { absent, one, each };
enum class Values { normal, integers };

const char* name_of(WeightForm form);

struct LinearCase {
  GemmShape shape;  // n counts outputs: a gated weight has 2 n rows
  Activation activation = Activation::none;
  bool gated = false;
  GateLayout layout = GateLayout::gate_up;
  std::optional<float> clamp;
  bool bias = false;
  bool bias_f32 = false;
  bool residual = false;
  float alpha = 1.0f;
  Scale row_scale = Scale::absent;
  Scale col_scale = Scale::absent;
  bool mean = false;  // row_mean and col_sum
  WeightForm weight = WeightForm::plain;
  std::int64_t groups = 1;      // int8_rows
  std::int64_t group_size = 0;  // int8_k
  std::optional<DType> out_dtype;
  std::int64_t pad = 0;  // elements between the rows of x, the weight, the residual and out
  std::int64_t offset =
      0;  // elements from an aligned address to x, the weight, the residual and out
  Values values = Values::normal;
};

std::string describe(const LinearCase& c, Setting setting);

// The tensors of a case, filled from the case's own seed.
class LinearTensors {
 public:
  LinearTensors(const LinearCase& c, Setting setting, Context& context);
  LinearParams params() const;
  reference::Matrix expected() const;
  // What everyday float makes of it.
  reference::Matrix plain() const;
  // Whether the inputs are unchanged and nothing but elements of out was written.
  bool canaries_intact() const;

  Tensor x, weight, bias, residual, row_scale, row_mean, col_scale, col_sum, out;

 private:
  template <class Real>
  reference::Matrix compute() const;
  Tensor fill(DType dtype, Layout layout, double scale);
  // A vector that is made of powers of two where the values are integers, so that products stay
  // exact.
  Tensor fill_scale(std::int64_t size);

  LinearCase case_;
  Setting setting_;
  Random random_;
  Weight prepared_;
  reference::Matrix dequantized_;
};

// Runs the case and expects the promised accuracy, exact equality where the values are integers,
// and whole canaries.
void check_linear(const LinearCase& c, Setting setting, Context& context);
void check_linear(const LinearCase& c, Setting setting);

}  // namespace test
}  // namespace postlude
