// Random combinations of shapes, strides, weight forms and epilogue fields, all through one
// Context.
//
// The cases are the same in every run. POSTLUDE_TEST_CASES=N runs N of each kind instead, to look
// further.
#include <gtest/gtest.h>

#include <cstdlib>

#include "support/linear_case.hpp"
#include "support/mlp_case.hpp"
#include "support/setting.hpp"

namespace postlude {
namespace test {
namespace {

class RandomTest : public SettingTest {
 protected:
  static int count(int standard) {
    const char* wanted = std::getenv("POSTLUDE_TEST_CASES");
    return wanted != nullptr ? std::atoi(wanted) : standard;
  }
  bool coin() { return random_.integer(0, 1) == 1; }
  template <class Enum>
  Enum any(Enum last) {
    return static_cast<Enum>(random_.integer(0, static_cast<std::int64_t>(last)));
  }
  // Mostly small, now and then a multiple of what vectors and tiles like.
  std::int64_t size(std::int64_t largest) {
    const std::int64_t any_size = random_.integer(random_.integer(0, 9) == 0 ? 0 : 1, largest);
    return coin() && any_size > 8 ? any_size / 8 * 8 : any_size;
  }
};
POSTLUDE_TEST_SUITE(RandomTest);

TEST_P(RandomTest, Linear) {
  Context context(device());
  for (int i = 0; i < count(150); ++i) {
    LinearCase c;
    c.shape = {size(150), size(150), size(200)};
    c.activation = any(Activation::relu2);
    c.gated = coin();
    c.layout = any(GateLayout::up_gate);
    if (c.gated && coin()) c.clamp = 0.7f;
    c.bias = coin();
    c.bias_f32 = coin();
    c.residual = coin();
    c.alpha = coin() ? 1.0f : -0.5f;
    c.row_scale = any(Scale::each);
    c.col_scale = any(Scale::each);
    c.mean = coin();
    c.weight = any(WeightForm::int8_k);
    c.group_size = c.shape.k % 8 == 0 && c.shape.k > 0 ? 8 : 1;
    if (coin()) c.out_dtype = any(DType::f16);
    // A float output shows what 8 bits with a scale for each group lose in a half panel.
    if (c.weight == WeightForm::int8_k) c.out_dtype.reset();
    c.pad = random_.integer(0, 3);
    c.offset = random_.integer(0, 2);
    context.set_batch_invariant(random_.integer(0, 4) == 0);
    check_linear(c, GetParam(), context);
    if (HasFailure()) FAIL() << "case " << i;
  }
}

TEST_P(RandomTest, Mlp) {
  for (int i = 0; i < count(60); ++i) {
    MlpCase c;
    const std::int64_t h = size(130);
    c.shape = {size(100), h, size(200), coin() ? h : size(100)};
    c.activation = any(Activation::silu);
    c.gated = coin();
    c.layout = any(GateLayout::up_gate);
    c.biases = coin();
    c.f32_vectors = coin();
    c.norm = any(NormKind::rms);
    c.residual = coin();
    c.input_bias = coin();
    c.add = c.shape.n == h ? any(Residual::parallel) : coin() ? Residual::none : Residual::parallel;
    c.residual_out = coin();
    c.normed_out = coin();
    c.packed = coin();
    c.transposed = coin();
    c.pad = random_.integer(0, 3);
    check_mlp(c, GetParam());
    if (HasFailure()) FAIL() << "case " << i;
  }
}

}  // namespace
}  // namespace test
}  // namespace postlude
