// Plans: what explain says, that it never changes, and that oneDNN's reference code is never
// chosen.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "cases.hpp"
#include "support/linear_case.hpp"
#include "support/mlp_case.hpp"
#include "support/setting.hpp"

namespace postlude {
namespace test {
namespace {

using PlanTest = SettingTest;
POSTLUDE_TEST_SUITE(PlanTest);

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_P(PlanTest, ExplainNamesShapesKernelEpilogueAndWorkspace) {
  LinearCase c;
  c.shape = {33, 65, 127};
  c.activation = Activation::gelu_tanh;
  c.residual = true;
  Context context(device());
  const LinearTensors t(c, GetParam(), context);
  const std::string text = api::explain(t.params(), t.out, context);
  for (const char* part :
       {"linear", "33", "65", "127", "gelu_tanh", "residual", "kernel", "workspace"}) {
    EXPECT_TRUE(contains(text, part)) << part << " in:\n" << text;
  }
  EXPECT_TRUE(contains(text, to_string(dtype()))) << text;
  EXPECT_TRUE(contains(text, to_string(device()))) << text;
  EXPECT_TRUE(contains(text, std::to_string(api::workspace_size(t.params(), t.out, context))))
      << text;
}

TEST_P(PlanTest, ExplainSaysWhyEarlierKernelsRefused) {
  Context context(device());
  std::size_t refusals = 0;
  for (const GemmShape& shape : cases::tails) {
    LinearCase c;
    c.shape = shape;
    c.weight = WeightForm::int8_rows;
    const LinearTensors t(c, GetParam(), context);
    const std::string text = api::explain(t.params(), t.out, context);
    for (std::size_t at = text.find("refused "); at != std::string::npos;
         at = text.find("refused ", at + 1)) {
      const std::string line = text.substr(at, text.find('\n', at) - at);
      const std::size_t colon = line.find(": ");
      ASSERT_NE(colon, std::string::npos) << line;
      EXPECT_GT(line.size(), colon + 6) << "no reason in: " << line;
      ++refusals;
    }
  }
  EXPECT_GT(refusals, 0u) << "one kernel for every shape from 1 to 300 is not to be believed";
}

TEST_P(PlanTest, ExplainCoversEveryOp) {
  Context context(device());
  const Tensor x = normal({{7, 64}, {}, 0}), weight = normal({{64, 64}, {}, 0}),
               out = empty({{7, 64}, {}, 0});
  QkvParams q;
  q.x = x;
  q.weight = weight.view();
  q.norm = Norm::layer({}, {}, 1e-5f);
  EXPECT_TRUE(contains(api::explain(q, out, context), "qkv"));
  EXPECT_TRUE(contains(api::explain(q, out, context), "layer_norm"));
  MlpParams m;
  m.x = x;
  m.weight_in = weight.view();
  m.weight_out = weight.view();
  m.norm = Norm::rms({}, 1e-5f);
  m.activation = Activation::silu;
  EXPECT_TRUE(contains(api::explain(m, out, context), "mlp"));
  EXPECT_TRUE(contains(api::explain(m, out, context), "rms_norm"));
  EXPECT_TRUE(contains(api::explain(m, out, context), "silu"));
  NormParams n;
  n.x = x;
  n.norm = q.norm;
  EXPECT_TRUE(contains(api::explain(n, out, context), "norm"));
  ResidualAddParams r;
  r.hidden_state = x;
  r.residual = x;
  EXPECT_TRUE(contains(api::explain(r, out, context), "residual_add"));
}

// A linear call of a model's size with no memory behind it: explain looks at no element.
struct Phantom {
  LinearParams params;
  TensorView out;
};

Phantom phantom(const GemmShape& shape, bool gated, bool transposed_weight, const Setting& s) {
  static const std::shared_ptr<void> memory = allocate(Device{}, 256);
  void* data = memory.get();
  const std::int64_t rows = gated ? 2 * shape.n : shape.n, k = shape.k;
  Phantom result;
  // Distinct ranges of addresses, far apart, so that nothing seems to overlap.
  const auto place = [&](int index) {
    return static_cast<char*>(data) + (std::int64_t{index} << 36);
  };
  result.params.x = TensorView(place(0), s.dtype, {shape.m, k}, s.device);
  result.params.weight = transposed_weight
                             ? TensorView(place(1), s.dtype, {rows, k}, {1, rows}, s.device)
                             : TensorView(place(1), s.dtype, {rows, k}, s.device);
  result.params.epilogue.bias = TensorView(place(2), s.dtype, {rows}, s.device);
  result.params.epilogue.gated = gated;
  result.params.epilogue.activation = Activation::gelu_tanh;
  result.params.epilogue.residual = TensorView(place(3), s.dtype, {shape.m, shape.n}, s.device);
  result.out = TensorView(place(4), s.dtype, {shape.m, shape.n}, s.device);
  return result;
}

TEST_P(PlanTest, NoModelShapeMeetsReferenceCode) {
  Context context(device());
  for (const GemmShape& product : cases::model_products) {
    for (std::int64_t m : cases::model_rows) {
      for (bool gated : {false, true}) {
        for (bool transposed_weight : {false, true}) {
          const Phantom p =
              phantom({m, product.n, product.k}, gated, transposed_weight, GetParam());
          const std::string text = api::explain(p.params, p.out, context);
          EXPECT_FALSE(contains(text, "kernel ref") || contains(text, "impl=ref")) << text;
          if (device().type == DeviceType::cpu) {
            EXPECT_TRUE(contains(text, "impl=")) << text;
          }
        }
      }
    }
  }
}

TEST_P(PlanTest, NoShapeOrWeightFormMeetsOneDnnsReferenceCode) {
  Context context(device());
  for (const GemmShape& shape : cases::tails) {
    for (WeightForm form :
         {WeightForm::plain, WeightForm::transposed, WeightForm::packed, WeightForm::int8_rows}) {
      for (bool gated : {false, true}) {
        for (bool bias_f32 : {false, true}) {
          LinearCase c;
          c.shape = shape;
          c.weight = form;
          c.gated = gated;
          c.activation = Activation::gelu_erf;
          c.bias = true;
          c.bias_f32 = bias_f32;
          c.residual = true;
          const LinearTensors t(c, GetParam(), context);
          const std::string text = api::explain(t.params(), t.out, context);
          EXPECT_FALSE(contains(text, "impl=ref")) << describe(c, GetParam()) << "\n" << text;
        }
      }
    }
  }
}

TEST_P(PlanTest, ThePlanDependsOnTheProblemAlone) {
  Context first(device()), second(device());
  std::vector<std::string> before;
  const auto all = [&](Context& context) {
    std::vector<std::string> texts;
    for (const GemmShape& shape : cases::tails) {
      for (bool gated : {false, true}) {
        const Phantom p = phantom(shape, gated, false, GetParam());
        texts.push_back(api::explain(p.params, p.out, context));
      }
    }
    return texts;
  };
  before = all(first);
  for (const GemmShape& shape : cases::few) {  // history must not matter
    LinearCase c;
    c.shape = shape;
    check_linear(c, GetParam(), first);
  }
  EXPECT_EQ(all(first), before);
  EXPECT_EQ(all(second), before);
}

TEST_P(PlanTest, MlpPlansWithoutItsMemory) {
  const Phantom p = phantom({128, 3072, 768}, false, false, GetParam());
  MlpParams m;
  m.x = p.params.x;
  m.weight_in = p.params.weight;
  m.weight_out = TensorView(p.out.data(), dtype(), {768, 3072}, device());
  m.activation = Activation::gelu_erf;
  m.norm = Norm::layer({}, {}, 1e-5f);
  const TensorView out(p.params.epilogue.residual.data(), dtype(), {128, 768}, device());
  const Context context(device());
  EXPECT_FALSE(contains(api::explain(m, out, context), "impl=ref"));
}

}  // namespace
}  // namespace test
}  // namespace postlude
