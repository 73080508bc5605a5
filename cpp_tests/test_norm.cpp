// norm: LayerNorm and RMSNorm over any hidden size, with sums before and after, against the
// reference.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "cases.hpp"
#include "support/compare.hpp"
#include "support/setting.hpp"

namespace postlude {
namespace test {
namespace {

struct NormCase {
  std::int64_t m = 3, h = 64;
  NormKind kind = NormKind::layer;
  bool weight = true, bias = true, f32_vectors = false;
  float eps = 1e-5f, weight_offset = 0.0f;
  bool residual = false, input_bias = false, add_after = false, residual_out = false;
  std::int64_t pad = 0, offset = 0;
  double mean = 0.0, scale = 1.0;
};

class NormTest : public SettingTest {
 protected:
  void check(const NormCase& c) {
    SCOPED_TRACE(::testing::Message()
                 << "M " << c.m << " H " << c.h << " kind " << static_cast<int>(c.kind)
                 << " weight " << c.weight << " bias " << c.bias << " f32 " << c.f32_vectors
                 << " offset " << c.weight_offset << " residual " << c.residual << " input_bias "
                 << c.input_bias << " add_after " << c.add_after << " residual_out "
                 << c.residual_out << " pad " << c.pad << "+" << c.offset << " mean " << c.mean);
    const auto vector = [&](double scale, double mean) {
      return randn(device(), c.f32_vectors ? DType::f32 : dtype(), {{c.h}, {}, 0}, random_, scale,
                   mean);
    };
    const Layout rows = padded({c.m, c.h}, c.pad, c.offset);
    const Tensor x = normal(rows, c.scale, c.mean);
    Tensor weight, bias, residual, input_bias, add_after, residual_out, out = empty(rows);
    if (c.weight) weight = vector(0.3, 1.0);
    if (c.bias && c.kind == NormKind::layer) bias = vector(0.3, 0.0);
    if (c.residual) residual = normal(padded({c.m, c.h}, 2 * c.pad, c.offset));
    if (c.input_bias) input_bias = vector(0.5, 0.0);
    if (c.add_after) add_after = normal(rows);
    if (c.residual_out) residual_out = empty(padded({c.m, c.h}, c.pad));
    NormParams p;
    p.x = x;
    p.norm.kind = c.kind;
    p.norm.weight = weight;
    p.norm.bias = bias;
    p.norm.eps = c.kind == NormKind::none ? 0.0f : c.eps;
    p.norm.weight_offset = c.weight_offset;
    p.residual = residual;
    p.bias = input_bias;
    p.add_after = add_after;
    p.residual_out = residual_out;
    ASSERT_NO_THROW(run(p, out));
    const reference::Matrix r = reference::sum(x.matrix(), residual.matrix(), input_bias.vector());
    const reference::Norm norm{c.kind, weight.vector(), bias.vector(), static_cast<double>(c.eps),
                               static_cast<double>(c.weight_offset)};
    const reference::Matrix n =
        reference::sum(reference::normalise(r, norm), add_after.matrix(), {});
    EXPECT_TRUE(close(out, n));
    if (c.residual_out) {
      EXPECT_TRUE(close(residual_out, r));
    }
    for (const Tensor& t : {x, weight, bias, residual, input_bias, add_after})
      EXPECT_TRUE(t.unchanged());
    EXPECT_TRUE(out.canaries_intact() && residual_out.canaries_intact());
  }
};
POSTLUDE_TEST_SUITE(NormTest);

TEST_P(NormTest, EveryHiddenSize) {
  for (std::int64_t h : cases::hidden) {
    for (NormKind kind : {NormKind::layer, NormKind::rms}) {
      NormCase c;
      c.m = h > 4096 ? 2 : 5;
      c.h = h;
      c.kind = kind;
      c.eps = 1e-3f;  // h = 1 and 2 give a variance near zero
      check(c);
      c.residual = true;
      c.input_bias = true;
      c.residual_out = true;
      c.pad = 3;
      c.offset = 1;
      check(c);
    }
  }
}

TEST_P(NormTest, EveryRowCount) {
  for (std::int64_t m : cases::rows) {
    NormCase c;
    c.m = m;
    c.h = 129;
    c.residual = true;
    c.residual_out = true;
    check(c);
  }
}

TEST_P(NormTest, EveryCombinationOfInputsAndOutputs) {
  for (int bits = 0; bits < 128; ++bits) {
    for (NormKind kind : {NormKind::none, NormKind::layer, NormKind::rms}) {
      NormCase c;
      c.h = 37;
      c.kind = kind;
      c.weight = (bits & 1) != 0;
      c.bias = (bits & 2) != 0;
      c.residual = (bits & 4) != 0;
      c.input_bias = (bits & 8) != 0;
      c.add_after = (bits & 16) != 0;
      c.residual_out = (bits & 32) != 0;
      c.f32_vectors = (bits & 64) != 0;
      if (kind == NormKind::none && (c.weight || c.bias)) continue;
      if (kind == NormKind::rms && c.bias) continue;
      check(c);
    }
  }
}

TEST_P(NormTest, GemmasNormAddsOneToItsWeight) {
  NormCase c;
  c.h = 300;
  c.kind = NormKind::rms;
  c.weight_offset = 1.0f;
  check(c);
}

// Found by fuzz/c_interface.cpp: such a weight was multiplied with, and its shape not looked at.
TEST_P(NormTest, WithoutAKindThereIsNoWeight) {
  const Tensor x = normal({{3, 40}, {}, 0}), two = normal({{2}, {}, 0});
  Tensor out = empty({{3, 40}, {}, 0});
  NormParams p;
  p.x = x;
  p.norm.weight = two;
  p.norm.bias = two;
  p.norm.weight_offset = 1.0f;
  run(p, out);
  EXPECT_TRUE(same_bits(x, out));
}

TEST_P(NormTest, EmptyDimensions) {
  for (std::int64_t m : {0, 3}) {
    for (NormKind kind : {NormKind::none, NormKind::layer, NormKind::rms}) {
      NormCase c;
      c.m = m;
      c.h = m == 0 ? 8 : 0;
      c.kind = kind;
      c.weight = c.bias = kind == NormKind::layer;
      c.residual = c.residual_out = true;
      check(c);
    }
  }
}

// The same in float, in two passes with pairwise sums: what an everyday implementation achieves.
float pairwise(const std::vector<float>& values, std::size_t first, std::size_t count) {
  if (count == 1) return values[first];
  return pairwise(values, first, count / 2) +
         pairwise(values, first + count / 2, count - count / 2);
}
std::vector<double> plain_layer_norm(const reference::Matrix& x, float eps) {
  std::vector<double> out;
  const float count = static_cast<float>(x.cols);
  for (std::int64_t m = 0; m < x.rows; ++m) {
    std::vector<float> row, squares;
    for (std::int64_t j = 0; j < x.cols; ++j) row.push_back(static_cast<float>(x(m, j)));
    const float mean = pairwise(row, 0, row.size()) / count;
    for (float value : row) squares.push_back((value - mean) * (value - mean));
    const float scale = 1.0f / std::sqrt(pairwise(squares, 0, squares.size()) / count + eps);
    for (float value : row) out.push_back(static_cast<double>((value - mean) * scale));
  }
  return out;
}

TEST_P(NormTest, AMeanFarFromZero) {
  const std::vector<double> means = dtype() == DType::f32
                                        ? std::vector<double>{10, 100, 1000, -1000}
                                        : std::vector<double>{10, 30, -30};
  for (double mean : means) {
    for (std::int64_t h : {7, 127, 768, 1600, 8192}) {
      SCOPED_TRACE(::testing::Message() << "mean " << mean << " H " << h);
      const Tensor x = normal({{9, h}, {}, 0}, 1.0, mean);
      Tensor out = empty({{9, h}, {}, 0});
      NormParams p;
      p.x = x;
      p.norm = Norm::layer({}, {}, 1e-5f);
      ASSERT_NO_THROW(run(p, out));
      const reference::Matrix expected = reference::normalise(
          x.matrix(), {NormKind::layer, {}, {}, static_cast<double>(1e-5f), 0.0});
      const Tolerance limit =
          tolerance(dtype(), plain_layer_norm(x.matrix(), 1e-5f), expected.values);
      EXPECT_TRUE(close(out.get(), expected.values, limit));
    }
  }
}

TEST_P(NormTest, ConstantRowsGiveTheBias) {
  for (double value : {0.0, 1.0, -30.0, 1000.0}) {
    for (std::int64_t h : {1, 33, 768}) {
      const std::vector<double> values(static_cast<std::size_t>(2 * h), value);
      const Tensor x = tensor(device(), dtype(), {2, h}, values), bias = normal({{h}, {}, 0});
      Tensor out = empty({{2, h}, {}, 0});
      NormParams p;
      p.x = x;
      p.norm = Norm::layer({}, bias, 1e-5f);
      run(p, out);
      const reference::Matrix none(2, h);
      // eps keeps the mean's own rounding, half an ulp of the value, from growing by more than 1 /
      // sqrt(eps).
      EXPECT_TRUE(
          rounded_once(out, reference::sum(none, {}, bias.vector()), std::fabs(value) * 2e-5))
          << value << " times " << h;
    }
  }
}

TEST_P(NormTest, StatisticsComeFromTheUnroundedSum) {
  const std::int64_t m = 5, h = 768;
  const Tensor x = tensor(device(), dtype(), {m, h}, std::vector<double>(m * h, 64.0));
  const Tensor residual = normal({{m, h}, {}, 0});
  for (NormKind kind : {NormKind::layer, NormKind::rms}) {
    Tensor out = empty({{m, h}, {}, 0}), residual_out = empty({{m, h}, {}, 0});
    NormParams p;
    p.x = x;
    p.residual = residual;
    p.norm.kind = kind;
    p.norm.eps = 1e-5f;
    p.residual_out = residual_out;
    run(p, out);
    const reference::Matrix expected =
        reference::normalise(reference::sum(x.matrix(), residual.matrix(), {}),
                             {kind, {}, {}, static_cast<double>(1e-5f), 0.0});
    // fp32 holds x + residual to 2^-18 here, which the norm keeps.
    const double limit = dtype() == DType::f32 ? 8e-6 : tolerance(dtype()).frobenius;
    EXPECT_TRUE(close(out.get(), expected.values, {limit}));
  }
}

TEST_P(NormTest, LargeAndSmallValuesNeitherOverflowNorVanish) {
  // The squares of these do not fit f16, but fp32 holds them.
  for (double scale : {2000.0, 1e-4}) {
    for (NormKind kind : {NormKind::layer, NormKind::rms}) {
      NormCase c;
      c.h = 768;
      c.kind = kind;
      c.scale = scale;
      c.eps = 1e-12f;
      check(c);
    }
  }
}

TEST_P(NormTest, InPlace) {
  struct Aliases {
    bool out_is_x, out_is_residual, r_is_x, r_is_residual;
  };
  for (const Aliases& a : {Aliases{true, false, false, false}, Aliases{false, true, false, false},
                           Aliases{false, false, true, false}, Aliases{false, false, false, true},
                           Aliases{true, false, false, true}, Aliases{false, true, true, false}}) {
    const Tensor x = normal({{33, 300}, {}, 0}), residual = normal({{33, 300}, {}, 0});
    const reference::Matrix r = reference::sum(x.matrix(), residual.matrix(), {});
    const reference::Matrix n =
        reference::normalise(r, {NormKind::rms, {}, {}, static_cast<double>(1e-5f), 0.0});
    const Tensor out = a.out_is_x ? x : a.out_is_residual ? residual : empty({{33, 300}, {}, 0});
    const Tensor residual_out = a.r_is_x          ? x
                                : a.r_is_residual ? residual
                                                  : empty({{33, 300}, {}, 0});
    NormParams p;
    p.x = x;
    p.residual = residual;
    p.norm = Norm::rms({}, 1e-5f);
    p.residual_out = residual_out;
    ASSERT_NO_THROW(run(p, out));
    EXPECT_TRUE(close(out, n));
    EXPECT_TRUE(close(residual_out, r));
  }
}

TEST_P(NormTest, AnyRankAndStride) {
  const std::int64_t b = 3, s = 5, h = 65;
  for (const Layout& layout :
       {Layout{{b, s, h}, {h, b * h, 1}, 0}, Layout{{b, s, h}, {s * h + 2, -h, 1}, 0},
        Layout{{b, s, h}, {0, h, 1}, 0}, Layout{{h}, {}, 0}}) {
    const Tensor x = normal(layout), weight = normal({{h}, {}, 0});
    Tensor out = empty({{h}, {}, 0});
    NormParams p;
    p.x = x;
    p.norm = Norm::rms(weight, 1e-6f);
    if (layout.shape.size() > 1) out = empty({{b, s, h}, {h, b * h + 4, 1}, 0});
    ASSERT_NO_THROW(run(p, out));
    EXPECT_TRUE(close(
        out,
        reference::normalise(
            x.matrix(), {NormKind::rms, weight.vector(), {}, static_cast<double>(1e-6f), 0.0})));
    EXPECT_TRUE(out.canaries_intact() && x.unchanged());
  }
}

TEST_P(NormTest, NotANumberStaysInItsRow) {
  Tensor x = normal({{4, 64}, {}, 0});
  std::vector<double> values = x.get();
  values[64 + 3] = std::nan("");
  values[2 * 64 + 5] = HUGE_VAL;
  x.set(values);
  for (NormKind kind : {NormKind::layer, NormKind::rms}) {
    Tensor out = empty({{4, 64}, {}, 0});
    NormParams p;
    p.x = x;
    p.norm.kind = kind;
    p.norm.eps = 1e-5f;
    run(p, out);
    const std::vector<double> got = out.get();
    for (std::size_t j = 0; j < 64; ++j) {
      EXPECT_TRUE(std::isfinite(got[j]) && std::isfinite(got[3 * 64 + j]))
          << "a row without NaN, column " << j;
      EXPECT_TRUE(std::isnan(got[64 + j])) << "the row with NaN, column " << j;
    }
    EXPECT_TRUE(std::isnan(got[2 * 64 + 5])) << "inf / inf";
  }
}

}  // namespace
}  // namespace test
}  // namespace postlude
