// Activations alone: every bf16 and f16 value and a dense sweep of f32, to 2^-20 |x| and half an
// ulp of the output.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "support/compare.hpp"
#include "support/number.hpp"
#include "support/setting.hpp"

namespace postlude {
namespace test {
namespace {

// Every value of a 16-bit dtype; of f32, both signs of a walk through all exponents with a few
// mantissas each, and a finer one through the range in which activations bend.
std::vector<double> all_values(DType dtype) {
  std::vector<double> values;
  if (dtype != DType::f32) {
    for (std::uint32_t bits = 0; bits < 65536; ++bits) {
      const std::uint16_t narrow = static_cast<std::uint16_t>(bits);
      values.push_back(decode(dtype, &narrow));
    }
    return values;
  }
  for (std::uint32_t bits = 0; bits < 0x7f800000u; bits += 0x00013579u) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    values.push_back(static_cast<double>(value));
  }
  for (int i = 0; i <= 40000; ++i)
    values.push_back(static_cast<double>(static_cast<float>(i) * 5.1234e-4f));
  const std::size_t positive = values.size();
  for (std::size_t i = 0; i < positive; ++i) values.push_back(-values[i]);
  return values;
}

class ActivationTest : public SettingTest {
 protected:
  // Compares act(value), computed by linear in one of three ways, with the reference.
  void check(Activation activation, const std::vector<double>& values, const Tensor& out) {
    SCOPED_TRACE(to_string(activation));
    reference::Matrix expected(1, static_cast<std::int64_t>(values.size()));
    std::vector<double> slack;
    for (std::size_t i = 0; i < values.size(); ++i) {
      expected.values[i] = reference::activate(activation, values[i]);
      // Matrix units take subnormal numbers of f32 and bf16 as zeros.
      const double flushed = dtype() == DType::f16 ? 0.0 : std::ldexp(1.0, -126);
      // The GPU's f32 products are 3xTF32, which keeps 22 bits of each operand.
      const double product = device().type == DeviceType::cuda && dtype() == DType::f32
                                 ? std::ldexp(std::fabs(expected.values[i]), -21)
                                 : 0.0;
      slack.push_back(std::isfinite(values[i])
                          ? std::ldexp(std::fabs(values[i]), -20) + flushed + product
                          : 0.0);
    }
    EXPECT_TRUE(rounded_once(out, expected, slack));
  }

  static constexpr Activation activations[] = {
      Activation::none,       Activation::relu, Activation::gelu_erf, Activation::gelu_tanh,
      Activation::quick_gelu, Activation::silu, Activation::relu2};
};
POSTLUDE_TEST_SUITE(ActivationTest);

TEST_P(ActivationTest, AlongARow) {
  const std::vector<double> values = all_values(dtype());
  const std::int64_t count = static_cast<std::int64_t>(values.size());
  const Tensor one = tensor(device(), dtype(), {1, 1}, {1.0}),
               weight = tensor(device(), dtype(), {count, 1}, values);
  for (Activation activation : activations) {
    LinearParams p;
    p.x = one;
    p.weight = weight.view();
    p.epilogue.activation = activation;
    Tensor out = empty({{1, count}, {}, 0});
    run(p, out);
    check(activation, values, out);
  }
}

TEST_P(ActivationTest, DownAColumn) {
  const std::vector<double> values = all_values(dtype());
  const std::int64_t count = static_cast<std::int64_t>(values.size());
  const Tensor x = tensor(device(), dtype(), {count, 1}, values),
               one = tensor(device(), dtype(), {1, 1}, {1.0});
  for (Activation activation : activations) {
    LinearParams p;
    p.x = x;
    p.weight = one.view();
    p.epilogue.activation = activation;
    Tensor out = empty({{count, 1}, {}, 0});
    run(p, out);
    check(activation, values, out);
  }
}

TEST_P(ActivationTest, OfTheGate) {
  // up = 1 by its bias: rows of weight 0. NaN and inf are left out, for inf * 0 is NaN in the
  // product.
  std::vector<double> values;
  for (double value : all_values(dtype())) {
    if (std::isfinite(value)) values.push_back(value);
  }
  const std::int64_t count = static_cast<std::int64_t>(values.size());
  std::vector<double> weights = values, biases(values.size(), 0.0);
  weights.resize(2 * values.size(), 0.0);
  biases.resize(2 * values.size(), 1.0);
  const Tensor one = tensor(device(), dtype(), {1, 1}, {1.0});
  const Tensor weight = tensor(device(), dtype(), {2 * count, 1}, weights);
  const Tensor bias = tensor(device(), dtype(), {2 * count}, biases);
  for (Activation activation : activations) {
    LinearParams p;
    p.x = one;
    p.weight = weight.view();
    p.epilogue.bias = bias;
    p.epilogue.gated = true;
    p.epilogue.activation = activation;
    Tensor out = empty({{1, count}, {}, 0});
    run(p, out);
    check(activation, values, out);
  }
}

TEST_P(ActivationTest, FloatOutputIsNotRoundedToTheDtypeOfX) {
  const std::vector<double> values = all_values(dtype());
  const std::int64_t count = static_cast<std::int64_t>(values.size());
  const Tensor one = tensor(device(), dtype(), {1, 1}, {1.0}),
               weight = tensor(device(), dtype(), {count, 1}, values);
  for (Activation activation : activations) {
    LinearParams p;
    p.x = one;
    p.weight = weight.view();
    p.epilogue.activation = activation;
    p.epilogue.out_dtype = DType::f32;
    const Tensor out(device(), DType::f32, {{1, count}, {}, 0});
    run(p, out);
    check(activation, values, out);
  }
}

TEST_P(ActivationTest, TheNegativeTailKeepsItsRelativeAccuracy) {
  const struct {
    Activation activation;
    double end;  // where the result is near f32's smallest normal number
  } tails[] = {{Activation::gelu_erf, -12.5},
               {Activation::gelu_tanh, -9.5},
               {Activation::quick_gelu, -48.0},
               {Activation::silu, -80.0}};
  for (const auto& tail : tails) {
    std::vector<double> values;
    for (int i = 0; i < 3000; ++i)
      values.push_back(round_to(dtype(), -1.0 + (tail.end + 1.0) * i / 3000.0));
    const std::int64_t count = static_cast<std::int64_t>(values.size());
    const Tensor one = tensor(device(), dtype(), {1, 1}, {1.0}),
                 weight = tensor(device(), dtype(), {count, 1}, values);
    LinearParams p;
    p.x = one;
    p.weight = weight.view();
    p.epilogue.activation = tail.activation;
    p.epilogue.out_dtype = DType::f32;
    const Tensor out(device(), DType::f32, {{1, count}, {}, 0});
    run(p, out);
    reference::Matrix expected(1, count);
    std::vector<double> slack;
    for (std::size_t i = 0; i < values.size(); ++i) {
      expected.values[i] = reference::activate(tail.activation, values[i]);
      slack.push_back(1e-4 * std::fabs(expected.values[i]));
    }
    EXPECT_TRUE(rounded_once(out, expected, slack)) << to_string(tail.activation);
  }
}

TEST_P(ActivationTest, NotANumberAndInfinity) {
  const double infinity = std::numeric_limits<double>::infinity(),
               nan = std::numeric_limits<double>::quiet_NaN();
  // Long enough for a vector and its tail.
  std::vector<double> values;
  for (int i = 0; i < 21; ++i) values.insert(values.end(), {nan, infinity, -infinity, 1.0});
  const std::int64_t count = static_cast<std::int64_t>(values.size());
  const Tensor one = tensor(device(), dtype(), {1, 1}, {1.0}),
               weight = tensor(device(), dtype(), {count, 1}, values);
  for (Activation activation : activations) {
    LinearParams p;
    p.x = one;
    p.weight = weight.view();
    p.epilogue.activation = activation;
    Tensor out = empty({{1, count}, {}, 0});
    run(p, out);
    const std::vector<double> got = out.get();
    const bool rectifies = activation == Activation::relu || activation == Activation::relu2;
    for (std::size_t i = 0; i < got.size(); i += 4) {
      SCOPED_TRACE(::testing::Message() << to_string(activation) << " " << i);
      EXPECT_TRUE(std::isnan(got[i])) << "of NaN: " << got[i];
      EXPECT_EQ(got[i + 1], infinity);
      if (rectifies) {
        EXPECT_EQ(got[i + 2], 0.0);
      } else if (activation == Activation::none) {
        EXPECT_EQ(got[i + 2], -infinity);
      } else {
        EXPECT_TRUE(std::isnan(got[i + 2])) << "-inf * 0, as in PyTorch: " << got[i + 2];
      }
      EXPECT_TRUE(std::isfinite(got[i + 3]));
    }
  }
}

}  // namespace
}  // namespace test
}  // namespace postlude
