// qkv: norm and product in one call, against the reference.
#include <gtest/gtest.h>

#include <cmath>

#include "cases.hpp"
#include "support/compare.hpp"
#include "support/setting.hpp"

namespace postlude {
namespace test {
namespace {

enum class Form { plain, transposed, packed };

struct QkvCase {
  GemmShape shape;
  NormKind norm = NormKind::none;
  float weight_offset = 0.0f;
  bool bias = false;
  bool normed_out = false;
  Form form = Form::plain;
  std::int64_t pad = 0;
};

class QkvTest : public SettingTest {
 protected:
  void check(const QkvCase& c) {
    const auto [m, n, k] = c.shape;
    SCOPED_TRACE(::testing::Message()
                 << "M " << m << " N " << n << " K " << k << " norm " << static_cast<int>(c.norm)
                 << " offset " << c.weight_offset << " bias " << c.bias << " normed_out "
                 << c.normed_out << " form " << static_cast<int>(c.form) << " pad " << c.pad);
    const double spread = k > 0 ? 1.0 / std::sqrt(static_cast<double>(k)) : 1.0;
    const Tensor x = normal(padded({m, k}, c.pad), 1.0, 0.5);
    const Tensor weight = normal(
        c.form == Form::transposed ? transposed(n, k, c.pad) : padded({n, k}, c.pad), spread);
    Tensor bias, gamma, beta, normed;
    if (c.bias) bias = normal({{n}, {}, 0});
    if (c.norm != NormKind::none) gamma = normal({{k}, {}, 0}, 0.3, 1.0);
    if (c.norm == NormKind::layer) beta = normal_f32({{k}, {}, 0}, 0.3);
    if (c.normed_out) normed = empty(padded({m, k}, 2 * c.pad));
    Tensor out = empty(padded({m, n}, c.pad));
    Context context(device());
    QkvParams p;
    p.x = x;
    p.bias = bias;
    p.norm.kind = c.norm;
    p.norm.weight = gamma;
    p.norm.bias = beta;
    p.norm.eps = c.norm == NormKind::none ? 0.0f : 1e-5f;
    p.norm.weight_offset = c.weight_offset;
    p.normed_out = normed;
    p.weight = weight.view();
    if (c.form == Form::packed) {
      PackOptions options;
      options.norm = p.norm;
      p.weight = api::pack_weight(weight, options, context);
    }
    ASSERT_NO_THROW(run(p, out, context));
    const reference::Norm norm{c.norm, gamma.vector(), beta.vector(), static_cast<double>(1e-5f),
                               static_cast<double>(c.weight_offset)};
    EXPECT_TRUE(close(out, reference::qkv(x.matrix(), weight.matrix(), bias.vector(), norm)));
    if (c.normed_out) {
      EXPECT_TRUE(close(normed, reference::normalise(x.matrix(), norm)));
    }
    EXPECT_TRUE(x.unchanged() && weight.unchanged() && bias.unchanged() && gamma.unchanged() &&
                beta.unchanged());
    EXPECT_TRUE(out.canaries_intact() && normed.canaries_intact());
  }
};
POSTLUDE_TEST_SUITE(QkvTest);

TEST_P(QkvTest, EveryShapeWithEveryNormAndWeightForm) {
  for (const GemmShape& shape : cases::tails) {
    for (NormKind norm : {NormKind::none, NormKind::layer, NormKind::rms}) {
      for (Form form : {Form::plain, Form::transposed, Form::packed}) {
        QkvCase c;
        c.shape = shape;
        c.norm = norm;
        c.form = form;
        c.bias = true;
        check(c);
      }
    }
  }
}

TEST_P(QkvTest, NormedOut) {
  for (const GemmShape& shape : cases::few) {
    for (NormKind norm : {NormKind::none, NormKind::layer, NormKind::rms}) {
      for (Form form : {Form::plain, Form::packed}) {
        QkvCase c;
        c.shape = shape;
        c.norm = norm;
        c.form = form;
        c.normed_out = true;
        c.pad = 3;
        check(c);
      }
    }
  }
}

TEST_P(QkvTest, GemmasNormAddsOneToItsWeight) {
  QkvCase c;
  c.shape = {7, 96, 65};
  c.norm = NormKind::rms;
  c.weight_offset = 1.0f;
  c.normed_out = true;
  check(c);
}

TEST_P(QkvTest, EmptyDimensions) {
  for (const GemmShape& shape : cases::empty) {
    for (NormKind norm : {NormKind::none, NormKind::layer, NormKind::rms}) {
      QkvCase c;
      c.shape = shape;
      c.norm = norm;
      c.bias = true;
      c.normed_out = true;
      check(c);
    }
  }
}

TEST_P(QkvTest, OutMayBeX) {
  for (NormKind kind : {NormKind::none, NormKind::layer}) {
    const Tensor both = normal({{130, 65}, {}, 0}), weight = normal({{65, 65}, {}, 0}, 0.1);
    const reference::Norm norm{kind, {}, {}, static_cast<double>(1e-5f), 0.0};
    const reference::Matrix expected = reference::qkv(both.matrix(), weight.matrix(), {}, norm);
    QkvParams p;
    p.x = both;
    p.weight = weight.view();
    p.norm.kind = kind;
    p.norm.eps = 1e-5f;
    ASSERT_NO_THROW(run(p, both));
    EXPECT_TRUE(close(both, expected));
  }
}

TEST_P(QkvTest, AMeanFarFromZero) {
  // As good as the same formula in plain float: two passes, then the product.
  const double mean = dtype() == DType::f32 ? 1000.0 : 30.0;
  const Tensor x = normal({{17, 512}, {}, 0}, 1.0, mean), weight = normal({{40, 512}, {}, 0}, 0.05);
  const reference::Norm norm{NormKind::layer, {}, {}, static_cast<double>(1e-5f), 0.0};
  const reference::Matrix expected = reference::qkv(x.matrix(), weight.matrix(), {}, norm);
  for (bool packed : {false, true}) {
    Context context(device());
    QkvParams p;
    p.x = x;
    p.norm = Norm::layer({}, {}, 1e-5f);
    p.weight = weight.view();
    if (packed) {
      PackOptions options;
      options.norm = p.norm;
      p.weight = api::pack_weight(weight, options, context);
    }
    Tensor out = empty({{17, 40}, {}, 0});
    ASSERT_NO_THROW(run(p, out, context));
    // A float mean of 1000 is off by up to 3e-5 of the deviation.
    const double limit = dtype() == DType::f32 ? 4e-5 : tolerance(dtype()).frobenius;
    EXPECT_TRUE(close(out.get(), expected.values, {limit})) << (packed ? "packed" : "plain");
  }
}

}  // namespace
}  // namespace test
}  // namespace postlude
