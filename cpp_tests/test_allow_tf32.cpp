// allow_tf32: on a GPU a product of float32 may be one TF32 product; nothing else changes.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "support/compare.hpp"
#include "support/linear_case.hpp"
#include "support/mlp_case.hpp"
#include "support/setting.hpp"

namespace postlude {
namespace test {
namespace {

std::vector<double> values_of(const reference::Matrix& expected) { return expected.values; }
std::vector<double> values_of(const MlpExpected& expected) { return expected.exact.out.values; }

class AllowTf32Test : public SettingTest {
 protected:
  bool rounds() const { return device().type == DeviceType::cuda && dtype() == DType::f32; }

  bool says(const std::string& text, const std::string& what) const {
    return text.find(what) != std::string::npos;
  }

  // Runs a case of Tensors twice as it is and twice with allow_tf32, and compares.
  template <class Tensors, class Case>
  void check(const Case& c, bool batch_invariant) {
    Context context(device());
    context.set_batch_invariant(batch_invariant);
    const Tensors plain(c, GetParam(), context), again(c, GetParam(), context),
        allowed(c, GetParam(), context), repeated(c, GetParam(), context);
    run(plain.params(), plain.out, context);
    const std::string before = api::explain(plain.params(), plain.out, context);
    EXPECT_FALSE(says(before, "allow_tf32")) << before;
    EXPECT_FALSE(says(before, "one TF32 product")) << before;

    context.set_allow_tf32(true);
    run(allowed.params(), allowed.out, context);
    run(repeated.params(), repeated.out, context);
    EXPECT_TRUE(same_bits(allowed.out, repeated.out)) << "twice the same call";
    const std::string text = api::explain(allowed.params(), allowed.out, context);
    EXPECT_TRUE(says(text, " allow_tf32")) << text;
    EXPECT_EQ(says(text, "one TF32 product"), rounds()) << text;

    context.set_allow_tf32(false);
    run(again.params(), again.out, context);
    EXPECT_TRUE(same_bits(plain.out, again.out)) << "a call does not remember the option";

    if (!rounds()) {
      EXPECT_TRUE(same_bits(plain.out, allowed.out));
      return;
    }
    const std::vector<double> expected = values_of(plain.expected());
    const Error three = error_of(plain.out.get(), expected);
    const Error one = error_of(allowed.out.get(), expected);
    EXPECT_LE(one.frobenius, 1e-3);
    EXPECT_GT(one.frobenius, 20 * three.frobenius) << "it was not one product";
  }
};
POSTLUDE_TEST_SUITE(AllowTf32Test);

TEST_P(AllowTf32Test, IsAnOptionOfTheContext) {
  Context first(device());
  EXPECT_FALSE(first.allow_tf32()) << "the default";
  first.set_allow_tf32(true);
  Context second = std::move(first);
  EXPECT_TRUE(second.allow_tf32());
  second.set_allow_tf32(false);
  EXPECT_FALSE(second.allow_tf32());
}

TEST_P(AllowTf32Test, Linear) {
  for (WeightForm form : {WeightForm::plain, WeightForm::transposed, WeightForm::packed}) {
    // Rows that TMA reads, and rows that it does not.
    for (std::int64_t k : {300, 301}) {
      for (bool batch_invariant : {false, true}) {
        SCOPED_TRACE(::testing::Message() << name_of(form) << ", k " << k
                                          << (batch_invariant ? ", batch_invariant" : ""));
        LinearCase c;
        c.shape = {130, 96, k};
        c.weight = form;
        c.bias = c.residual = true;
        check<LinearTensors>(c, batch_invariant);
      }
    }
  }
}

TEST_P(AllowTf32Test, Mlp) {
  MlpCase c;
  c.shape = {130, 96, 256, 96};
  c.norm = NormKind::rms;
  c.gated = true;
  c.activation = Activation::silu;
  check<MlpTensors>(c, false);
}

TEST_P(AllowTf32Test, SmallIntegersAreExact) {
  Context context(device());
  context.set_allow_tf32(true);
  LinearCase c;
  c.values = Values::integers;
  c.residual = true;
  for (const GemmShape& shape :
       {GemmShape{1, 65, 33}, GemmShape{70, 33, 48}, GemmShape{130, 96, 301}}) {
    c.shape = shape;
    check_linear(c, GetParam(), context);
  }
}

// What TF32 has no bits for is rounded to the nearest, ties away from zero, not cut off.
TEST_P(AllowTf32Test, RoundsToTheNearest) {
  const std::vector<std::pair<double, double>> values = {
      {2049, 2050}, {2047, 2047}, {-2049, -2050}, {4097, 4096},
      {4098, 4100}, {4099, 4100}, {8195, 8192},   {-8196, -8200}};
  const std::int64_t m = 128, n = 64, k = 64;
  Context context(device());
  context.set_allow_tf32(true);
  for (bool of_weight : {false, true}) {
    for (bool batch_invariant : {false, true}) {
      context.set_batch_invariant(batch_invariant);
      for (const auto& [value, rounded] : values) {
        // The number begins each row of one operand, and meets a 1 of the other.
        const auto beginning = [&](std::int64_t rows, double one) {
          std::vector<double> all(static_cast<std::size_t>(rows * k), 0.0);
          for (std::int64_t i = 0; i < rows; ++i) all[static_cast<std::size_t>(i * k)] = one;
          return all;
        };
        Tensor x = empty({{m, k}, {}, 0}), weight = empty({{n, k}, {}, 0});
        const Tensor out = empty({{m, n}, {}, 0});
        x.set(beginning(m, of_weight ? 1.0 : value));
        weight.set(beginning(n, of_weight ? value : 1.0));
        LinearParams p;
        p.x = x;
        p.weight = weight.view();
        run(p, out, context);
        const double expected = rounds() ? rounded : (of_weight ? weight : x).get()[0];
        EXPECT_EQ(out.get(), std::vector<double>(static_cast<std::size_t>(m * n), expected))
            << value << (of_weight ? " in the weight" : " in x");
      }
    }
  }
}

}  // namespace
}  // namespace test
}  // namespace postlude
