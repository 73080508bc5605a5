// linear: the whole epilogue, every weight form and every awkward shape, against the reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "cases.hpp"
#include "support/compare.hpp"
#include "support/linear_case.hpp"
#include "support/setting.hpp"

namespace postlude {
namespace test {
namespace {

using LinearTest = SettingTest;
POSTLUDE_TEST_SUITE(LinearTest);

constexpr Activation all_activations[] = {
    Activation::none,       Activation::relu, Activation::gelu_erf, Activation::gelu_tanh,
    Activation::quick_gelu, Activation::silu, Activation::relu2};
constexpr GateLayout both_layouts[] = {GateLayout::gate_up, GateLayout::up_gate};
constexpr WeightForm float_forms[] = {WeightForm::plain, WeightForm::transposed, WeightForm::packed,
                                      WeightForm::packed_transposed};

TEST_P(LinearTest, EveryShapeWithEveryWeightForm) {
  for (const std::vector<GemmShape>* shapes : {&cases::tails, &cases::wide}) {
    for (const GemmShape& shape : *shapes) {
      for (WeightForm form : float_forms) {
        LinearCase c;
        c.shape = shape;
        c.weight = form;
        c.bias = true;
        check_linear(c, GetParam());
      }
    }
  }
}

TEST_P(LinearTest, ManyTilesExactly) {
  for (const GemmShape& shape : cases::wide) {
    for (WeightForm form : {WeightForm::plain, WeightForm::packed, WeightForm::int8_rows}) {
      LinearCase c;
      c.values = Values::integers;
      c.shape = shape;
      c.weight = form;
      c.gated = true;
      c.activation = Activation::relu;
      c.residual = true;
      c.pad = 1;
      if (form == WeightForm::int8_rows) c.values = Values::normal;
      check_linear(c, GetParam());
    }
  }
}

TEST_P(LinearTest, PaddedRowsAndUnalignedStarts) {
  for (const GemmShape& shape : cases::tails) {
    for (WeightForm form : float_forms) {
      LinearCase c;
      c.shape = shape;
      c.weight = form;
      c.residual = true;
      c.pad = 3;
      c.offset = 1;
      check_linear(c, GetParam());
    }
  }
}

TEST_P(LinearTest, ExactOnSmallIntegers) {
  for (const GemmShape& shape : cases::tails) {
    for (WeightForm form : float_forms) {
      for (bool gated : {false, true}) {
        LinearCase c;
        c.values = Values::integers;
        c.shape = shape;
        c.weight = form;
        c.gated = gated;
        c.activation = Activation::relu;
        c.bias = true;
        c.residual = true;
        c.alpha = 0.5f;
        c.pad = shape.k % 3;
        check_linear(c, GetParam());
      }
    }
  }
}

TEST_P(LinearTest, OneContextServesCasesThatDifferInOneThing) {
  // What a Context keeps of one call must not serve another that only looks like it.
  Context context(device());
  for (std::int64_t m : {1, 7, 33, 64}) {
    for (std::int64_t n : {33, 64}) {
      for (std::int64_t k : {65, 127}) {
        for (std::int64_t pad : {0, 1}) {
          for (WeightForm form : float_forms) {
            LinearCase c;
            c.values = Values::integers;
            c.shape = {m, n, k};
            c.weight = form;
            c.pad = pad;
            check_linear(c, GetParam(), context);
          }
        }
      }
    }
  }
}

TEST_P(LinearTest, EveryActivation) {
  for (const GemmShape& shape : cases::few) {
    for (Activation activation : all_activations) {
      LinearCase c;
      c.shape = shape;
      c.activation = activation;
      c.bias = true;
      check_linear(c, GetParam());
    }
  }
}

TEST_P(LinearTest, GatedInBothLayouts) {
  for (const GemmShape& shape : cases::few) {
    for (GateLayout layout : both_layouts) {
      for (Activation activation : all_activations) {
        LinearCase c;
        c.shape = shape;
        c.gated = true;
        c.layout = layout;
        c.activation = activation;
        c.bias = true;
        check_linear(c, GetParam());
      }
      for (WeightForm form : float_forms) {
        LinearCase c;
        c.shape = shape;
        c.gated = true;
        c.layout = layout;
        c.activation = Activation::silu;
        c.weight = form;
        c.bias = true;
        c.bias_f32 = true;
        c.residual = true;
        c.alpha = -1.5f;
        c.pad = 5;
        check_linear(c, GetParam());
      }
    }
  }
}

TEST_P(LinearTest, ClampLimitsTheGateFromAboveAndTheUpHalfFromBothSides) {
  for (const GemmShape& shape : cases::few) {
    for (GateLayout layout : both_layouts) {
      LinearCase c;
      c.shape = shape;
      c.gated = true;
      c.layout = layout;
      c.activation = Activation::silu;
      c.clamp = 0.5f;
      c.bias = true;
      check_linear(c, GetParam());
    }
  }
}

TEST_P(LinearTest, BiasInTheDtypeOfXOrInFloat) {
  for (const GemmShape& shape : cases::few) {
    for (bool f32 : {false, true}) {
      LinearCase c;
      c.shape = shape;
      c.bias = true;
      c.bias_f32 = f32;
      check_linear(c, GetParam());
    }
  }
}

TEST_P(LinearTest, EveryScaleAndTheMeanCorrection) {
  for (const GemmShape& shape : cases::few) {
    for (Scale row : {Scale::absent, Scale::one, Scale::each}) {
      for (Scale col : {Scale::absent, Scale::one, Scale::each}) {
        for (bool mean : {false, true}) {
          for (Values values : {Values::normal, Values::integers}) {
            LinearCase c;
            c.values = values;
            c.shape = shape;
            c.row_scale = row;
            c.col_scale = col;
            c.mean = mean;
            c.bias = true;
            check_linear(c, GetParam());
          }
        }
      }
    }
  }
}

TEST_P(LinearTest, ScalesComeBeforeTheGate) {
  for (GateLayout layout : both_layouts) {
    LinearCase c;
    c.shape = {7, 33, 65};
    c.gated = true;
    c.layout = layout;
    c.activation = Activation::gelu_tanh;
    c.row_scale = Scale::each;
    c.col_scale = Scale::each;
    c.mean = true;
    c.bias = true;
    c.residual = true;
    c.alpha = 0.75f;
    check_linear(c, GetParam());
  }
}

TEST_P(LinearTest, EveryOutputDtype) {
  for (const GemmShape& shape : cases::few) {
    for (DType out_dtype : {DType::f32, DType::bf16, DType::f16}) {
      for (WeightForm form : {WeightForm::plain, WeightForm::packed}) {
        LinearCase c;
        c.shape = shape;
        c.out_dtype = out_dtype;
        c.weight = form;
        c.bias = true;
        c.residual = true;
        check_linear(c, GetParam());
        c.values = Values::integers;
        check_linear(c, GetParam());
      }
    }
  }
}

TEST_P(LinearTest, Int8WithScalesOverRows) {
  for (const GemmShape& shape :
       {GemmShape{1, 64, 33}, GemmShape{7, 300, 127}, GemmShape{65, 32, 300}}) {
    for (std::int64_t groups : {std::int64_t{1}, std::int64_t{4}, shape.n}) {
      for (bool gated : {false, true}) {
        LinearCase c;
        c.shape = shape;
        c.weight = WeightForm::int8_rows;
        c.groups = groups;
        c.gated = gated;
        c.activation = Activation::silu;
        c.bias = true;
        c.residual = true;
        c.pad = 1;
        check_linear(c, GetParam());
      }
    }
  }
}

TEST_P(LinearTest, Int8WithEveryOtherScale) {
  for (WeightForm form : {WeightForm::int8_rows, WeightForm::int8_k}) {
    for (bool gated : {false, true}) {
      for (std::int64_t m : {1, 33}) {
        LinearCase c;
        c.shape = {m, 66, 64};
        c.weight = form;
        c.groups = 3;
        c.group_size = 16;
        c.gated = gated;
        c.row_scale = Scale::each;
        c.col_scale = Scale::each;
        c.mean = true;
        c.bias = true;
        c.activation = Activation::silu;
        check_linear(c, GetParam());
      }
    }
  }
}

TEST_P(LinearTest, Int8WithScalesAlongK) {
  for (const GemmShape& shape :
       {GemmShape{1, 33, 64}, GemmShape{7, 65, 96}, GemmShape{65, 127, 320}}) {
    for (std::int64_t group_size : {std::int64_t{1}, std::int64_t{32}, shape.k}) {
      for (bool gated : {false, true}) {
        LinearCase c;
        c.shape = shape;
        c.weight = WeightForm::int8_k;
        c.group_size = group_size;
        c.gated = gated;
        c.activation = Activation::gelu_tanh;
        c.bias = true;
        c.pad = 1;
        check_linear(c, GetParam());
      }
    }
  }
}

TEST_P(LinearTest, EmptyDimensions) {
  for (const GemmShape& shape : cases::empty) {
    for (WeightForm form : float_forms) {
      for (bool gated : {false, true}) {
        LinearCase c;  // with K = 0: residual + alpha * act(bias)
        c.shape = shape;
        c.weight = form;
        c.gated = gated;
        c.activation = Activation::gelu_tanh;
        c.bias = true;
        c.residual = true;
        c.alpha = 2.0f;
        check_linear(c, GetParam());
      }
    }
  }
}

TEST_P(LinearTest, EmptyTensorsMayHaveNullPointers) {
  Context context(device());
  LinearParams p;
  p.x = TensorView(nullptr, dtype(), {2, 0}, device());
  p.weight = TensorView(nullptr, dtype(), {3, 0}, device());
  Tensor out = empty({{2, 3}, {}, 0});
  run(p, out, context);
  EXPECT_EQ(out.get(), std::vector<double>(6, 0.0));
  p.x = TensorView(nullptr, dtype(), {0, 5}, device());
  const Tensor weight = normal({{3, 5}, {}, 0});
  p.weight = weight.view();
  EXPECT_NO_THROW(run(p, TensorView(nullptr, dtype(), {0, 3}, device()), context));
}

TEST_P(LinearTest, NotANumberStaysInItsRowAndColumn) {
  const std::int64_t m = 70, n = 100, k = 65;
  Tensor x = integers({{m, k}, {}, 0}, 2), weight = integers({{n, k}, {}, 0}, 2);
  std::vector<double> values = x.get();
  values[17 * k + 3] = std::nan("");
  x.set(values);
  values = weight.get();
  values[66 * k + 64] = HUGE_VAL;
  weight.set(values);
  Context context(device());
  for (const WeightRef& ref :
       {WeightRef(weight.view()), WeightRef(api::pack_weight(weight, {}, context))}) {
    LinearParams p;
    p.x = x;
    p.weight = ref;
    const Tensor out = empty({{m, n}, {}, 0});
    run(p, out, context);
    EXPECT_TRUE(exact(out, reference::linear(x.matrix(), weight.matrix(), {})));
  }
}

TEST_P(LinearTest, LongSums) {
  for (const GemmShape& shape : cases::long_sums) {
    for (WeightForm form : {WeightForm::plain, WeightForm::packed}) {
      LinearCase c;
      c.shape = shape;
      c.weight = form;
      check_linear(c, GetParam());
    }
  }
}

TEST_P(LinearTest, RoundsOnceAfterTheResidual) {
  for (const GemmShape& shape : {GemmShape{33, 65, 127}, GemmShape{1, 300, 64}}) {
    for (bool gated : {false, true}) {
      LinearCase c;
      c.shape = shape;
      c.gated = gated;
      c.activation = Activation::gelu_tanh;
      c.bias = true;
      c.residual = true;
      c.alpha = 1.25f;
      SCOPED_TRACE(describe(c, GetParam()));
      Context context(device());
      LinearTensors t(c, GetParam(), context);
      run(t.params(), t.out, context);
      const reference::Matrix expected = t.expected();
      double largest = 0.0;
      for (double value : expected.values) largest = std::max(largest, std::fabs(value));
      EXPECT_TRUE(rounded_once(t.out, expected, std::ldexp(largest, -18)));
    }
  }
}

TEST_P(LinearTest, TheSameBitsFromRunToRun) {
  for (WeightForm form : {WeightForm::plain, WeightForm::packed}) {
    LinearCase c;
    c.shape = {65, 300, 300};
    c.weight = form;
    c.activation = Activation::silu;
    Context context(device());
    LinearTensors first(c, GetParam(), context), second(c, GetParam(), context);
    run(first.params(), first.out, context);
    for (int i = 0; i < 5; ++i) {
      run(second.params(), second.out, context);
      ASSERT_TRUE(same_bits(first.out, second.out));
    }
    Context other(device());
    run(second.params(), second.out, other);
    EXPECT_TRUE(same_bits(first.out, second.out)) << "another Context";
  }
}

}  // namespace
}  // namespace test
}  // namespace postlude
