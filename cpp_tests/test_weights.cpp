// Weights: packing and its inverse, quantisation to the bit, borrowed int8, and what a Weight says
// of itself.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "cases.hpp"
#include "support/compare.hpp"
#include "support/setting.hpp"

namespace postlude {
namespace test {
namespace {

using WeightTest = SettingTest;
POSTLUDE_TEST_SUITE(WeightTest);

std::vector<GemmShape> shapes() {
  std::vector<GemmShape> result = cases::tails;
  result.insert(result.end(), cases::empty.begin(), cases::empty.end());
  return result;
}

TEST_P(WeightTest, UnpackGivesBackEveryBit) {
  Context context(device());
  for (const GemmShape& shape : shapes()) {
    for (bool gated : {false, true}) {
      for (GateLayout layout : {GateLayout::gate_up, GateLayout::up_gate}) {
        const std::int64_t rows = gated ? 2 * shape.n : shape.n, k = shape.k;
        SCOPED_TRACE(::testing::Message() << "rows " << rows << " K " << k
                                          << (gated ? " gated " : "") << to_string(layout));
        PackOptions options;
        options.gated = gated;
        options.layout = layout;
        for (const Layout& stored : {padded({rows, k}, 0), padded({rows, k}, 3, 1),
                                     transposed(rows, k), transposed(rows, k, 3)}) {
          Tensor weight = empty(stored);
          weight.set_random_bits(random_);
          const Weight packed = api::pack_weight(weight, options, context);
          for (const Layout& wanted :
               {padded({rows, k}, 0), padded({rows, k}, 5), transposed(rows, k, 2)}) {
            Tensor back = empty(wanted);
            api::unpack(packed, back, context);
            synchronize(device());
            ASSERT_TRUE(same_bits(weight, back));
            EXPECT_TRUE(back.canaries_intact());
          }
          EXPECT_TRUE(weight.unchanged());
        }
      }
    }
  }
}

// Found by fuzz/c_interface.cpp: UndefinedBehaviorSanitizer wants no null pointer in memcpy.
TEST_P(WeightTest, NothingIsUnpackedToANullPointer) {
  Context context(device());
  const TensorView nothing(nullptr, dtype(), {3, 0}, device());
  const Weight packed = api::pack_weight(nothing, {}, context);
  EXPECT_NO_THROW(api::unpack(packed, nothing, context));
}

// Found by fuzz/c_interface.cpp: quantising walked through all of these rows.
TEST_P(WeightTest, ManyRowsOfNothingTakeNoTime) {
  Context context(device());
  const TensorView nothing(nullptr, dtype(), {std::int64_t{1} << 50, 0}, device());
  const Weight weight = api::quantize_weight(nothing, {}, context);
  EXPECT_EQ(weight.scales().size(0), 1);
  const Weight packed = api::pack_weight(nothing, {}, context);
  EXPECT_NO_THROW(api::unpack(packed, nothing, context));
}

TEST_P(WeightTest, SaysWhatItHolds) {
  Context context(device());
  const Tensor weight = normal({{24, 33}, {}, 0});
  const Weight packed = api::pack_weight(weight, {}, context);
  ASSERT_TRUE(static_cast<bool>(packed));
  EXPECT_EQ(packed.out_features(), 24);
  EXPECT_EQ(packed.in_features(), 33);
  EXPECT_EQ(packed.dtype(), dtype());
  EXPECT_EQ(packed.device(), device());
  EXPECT_FALSE(packed.quantized());
  EXPECT_FALSE(static_cast<bool>(packed.scales()));
  EXPECT_GE(packed.bytes(), 24 * 33 * size_of(dtype()));
  QuantizeOptions options;
  options.groups = 4;
  const Weight quantized = api::quantize_weight(weight, options, context);
  EXPECT_EQ(quantized.out_features(), 24);
  EXPECT_EQ(quantized.in_features(), 33);
  EXPECT_EQ(quantized.dtype(), DType::i8);
  EXPECT_TRUE(quantized.quantized());
  EXPECT_EQ(quantized.grouping(), Grouping::rows);
  EXPECT_EQ(quantized.scales().dtype(), DType::f32);
  ASSERT_EQ(quantized.scales().rank(), 1);
  EXPECT_EQ(quantized.scales().size(0), 4);
  EXPECT_GE(quantized.bytes(), std::size_t{24 * 33 + 4 * 4});
  EXPECT_FALSE(static_cast<bool>(Weight()));
}

TEST_P(WeightTest, CopiesShareTheirStorage) {
  Context context(device());
  const Tensor weight = integers({{24, 33}, {}, 0}, 2), x = integers({{7, 33}, {}, 0}, 2);
  Weight copy;
  {
    const Weight packed = api::pack_weight(weight, {}, context);
    copy = packed;
    EXPECT_EQ(copy.state(), packed.state());
  }
  LinearParams p;
  p.x = x;
  p.weight = copy;
  Tensor out = empty({{7, 24}, {}, 0});
  run(p, out, context);
  EXPECT_TRUE(exact(out, reference::linear(x.matrix(), weight.matrix(), {})));
}

// The values and scales of a quantised Weight, on the host.
reference::Quantized contents(const Weight& weight, Context& context) {
  reference::Quantized result;
  Tensor values(context.device(), DType::i8,
                {{weight.out_features(), weight.in_features()}, {}, 0});
  api::unpack(weight, values, context);
  synchronize(context.device());
  for (double value : values.get()) result.values.push_back(static_cast<std::int8_t>(value));
  const TensorView scales = weight.scales();
  result.scales.resize(static_cast<std::size_t>(scales.numel()));
  copy_to_host(context.device(), result.scales.data(), scales.data(),
               result.scales.size() * sizeof(float));
  return result;
}

void expect_same(const reference::Quantized& got, const reference::Quantized& expected) {
  EXPECT_EQ(got.scales, expected.scales);
  EXPECT_EQ(got.values, expected.values);
}

TEST_P(WeightTest, QuantisesToTheBit) {
  Context context(device());
  for (const GemmShape& shape :
       {GemmShape{0, 8, 64}, GemmShape{0, 12, 33}, GemmShape{0, 300, 96}}) {
    const std::int64_t n = shape.n, k = shape.k;
    for (const Layout& stored : {padded({n, k}, 3, 1), transposed(n, k, 2)}) {
      for (double scale : {1.0, 1e-3, 300.0}) {
        const Tensor weight = normal(stored, scale);
        for (std::int64_t groups : {std::int64_t{1}, std::int64_t{4}, n}) {
          QuantizeOptions options;
          options.groups = groups;
          SCOPED_TRACE(::testing::Message() << n << " x " << k << " rows, groups " << groups);
          expect_same(contents(api::quantize_weight(weight, options, context), context),
                      reference::quantize(weight.matrix(), options));
        }
        for (std::int64_t group_size : {std::int64_t{1}, k / 3, k}) {
          if (k % group_size != 0) continue;
          QuantizeOptions options;
          options.grouping = Grouping::k;
          options.group_size = group_size;
          SCOPED_TRACE(::testing::Message() << n << " x " << k << " k, group_size " << group_size);
          const Weight quantized = api::quantize_weight(weight, options, context);
          EXPECT_EQ(quantized.scales().size(0), n);
          EXPECT_EQ(quantized.scales().size(1), k / group_size);
          expect_same(contents(quantized, context), reference::quantize(weight.matrix(), options));
        }
      }
    }
  }
}

TEST_P(WeightTest, QuantisesTiesZerosAndTheSmallest) {
  Context context(device());
  // The largest is 127, so the scale is 1 and halves are ties, which go to even; then zeros; then
  // the smallest number, whose scale is 0 in f32.
  const double smallest = std::ldexp(1.0, dtype() == DType::f16    ? -24
                                          : dtype() == DType::bf16 ? -133
                                                                   : -149);
  const Tensor weight =
      tensor(device(), dtype(), {3, 6},
             {127, 0.5, 1.5, 2.5, -0.5, -1.5, 0, 0, 0, 0, 0, 0, smallest, -smallest, 0, 0, 0, 0});
  QuantizeOptions options;
  options.groups = 3;
  const reference::Quantized got =
      contents(api::quantize_weight(weight, options, context), context);
  expect_same(got, reference::quantize(weight.matrix(), options));
  EXPECT_EQ(got.values[1], 0);
  EXPECT_EQ(got.values[2], 2);
  EXPECT_EQ(got.values[3], 2);
  EXPECT_EQ(got.values[6], 0);
  EXPECT_EQ(got.scales[1], 0.0f);
}

TEST_P(WeightTest, BorrowsInt8InEitherLayout) {
  const std::int64_t n = 24, k = 32;
  Context context(device());
  const Tensor x = normal({{7, k}, {}, 0});
  for (const Layout& stored : {padded({n, k}, 3), transposed(n, k, 3)}) {
    const Tensor values = randint(device(), DType::i8, stored, random_, 127);
    for (Grouping grouping : {Grouping::rows, Grouping::k}) {
      const std::int64_t per_row = k / 8;
      const Layout layout =
          grouping == Grouping::rows ? Layout{{6}, {}, 0} : Layout{{n, per_row}, {}, 0};
      const Tensor scales = randn(device(), DType::f32, layout, random_, 0.001, 0.01);
      const Weight weight = api::borrow_quantized(values, scales, grouping);
      EXPECT_EQ(weight.bytes(), 0u);
      EXPECT_EQ(weight.scales().data(), scales.view().data());
      reference::Quantized quantized;
      for (double value : values.get()) quantized.values.push_back(static_cast<std::int8_t>(value));
      for (double scale : scales.get()) quantized.scales.push_back(static_cast<float>(scale));
      LinearParams p;
      p.x = x;
      p.weight = weight;
      Tensor out = empty({{7, n}, {}, 0});
      run(p, out, context);
      EXPECT_TRUE(
          close(out, reference::linear(x.matrix(), reference::dequantize(quantized, n, k), {})));
      EXPECT_TRUE(values.unchanged() && scales.unchanged());
      expect_same(contents(weight, context), quantized);
    }
  }
}

TEST_P(WeightTest, AWeightPackedForAGateServesTheGate) {
  // With the other layout of halves it either works or is refused; it never gives another result.
  Context context(device());
  const Tensor x = integers({{7, 33}, {}, 0}, 2), weight = integers({{40, 33}, {}, 0}, 2);
  for (GateLayout packed_as : {GateLayout::gate_up, GateLayout::up_gate}) {
    PackOptions options;
    options.gated = true;
    options.layout = packed_as;
    for (GateLayout used_as : {GateLayout::gate_up, GateLayout::up_gate}) {
      LinearParams p;
      p.x = x;
      p.weight = api::pack_weight(weight, options, context);
      p.epilogue.gated = true;
      p.epilogue.layout = used_as;
      p.epilogue.activation = Activation::relu;
      reference::Epilogue e;
      e.gated = true;
      e.layout = used_as;
      e.activation = Activation::relu;
      Tensor out = empty({{7, 20}, {}, 0});
      try {
        run(p, out, context);
        EXPECT_TRUE(exact(out, reference::linear(x.matrix(), weight.matrix(), e)));
      } catch (const std::invalid_argument& error) {
        EXPECT_NE(packed_as, used_as) << error.what();
      }
    }
  }
}

}  // namespace
}  // namespace test
}  // namespace postlude
