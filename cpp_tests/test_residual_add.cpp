// residual_add: the three forms with every subset of terms, against the reference.
#include <gtest/gtest.h>

#include "cases.hpp"
#include "support/compare.hpp"
#include "support/setting.hpp"

namespace postlude {
namespace test {
namespace {

using ResidualAddTest = SettingTest;
POSTLUDE_TEST_SUITE(ResidualAddTest);

constexpr ResidualForm forms[] = {ResidualForm::pre_ln, ResidualForm::post_ln,
                                  ResidualForm::parallel};

TEST_P(ResidualAddTest, EveryFormWithEverySubsetOfTerms) {
  for (ResidualForm form : forms) {
    for (int bits = 0; bits < 8; ++bits) {
      for (std::int64_t mp_size : {1, 3, 8}) {
        for (std::int64_t h : {1, 33, 300}) {
          if (form == ResidualForm::post_ln && (bits & 3) != 0) continue;
          SCOPED_TRACE(::testing::Message() << "form " << static_cast<int>(form) << " terms "
                                            << bits << " mp_size " << mp_size << " H " << h);
          const Layout rows = padded({7, h}, 2);
          const Tensor hidden = normal(rows), residual = normal({{7, h}, {}, 0});
          Tensor attention, attention_bias, final_bias, out = empty(rows);
          if ((bits & 1) != 0) attention = normal(rows);
          if ((bits & 2) != 0) attention_bias = normal({{h}, {}, 0});
          if ((bits & 4) != 0) final_bias = normal_f32({{h}, {}, 0});
          ResidualAddParams p;
          p.hidden_state = hidden;
          p.residual = residual;
          p.attention_output = attention;
          p.attention_bias = attention_bias;
          p.final_bias = final_bias;
          p.form = form;
          p.mp_size = mp_size;
          ASSERT_NO_THROW(run(p, out));
          const reference::Matrix expected = reference::residual_add(
              {hidden.matrix(), residual.matrix(), attention.matrix(), attention_bias.vector(),
               final_bias.vector(), form, static_cast<double>(mp_size)});
          EXPECT_TRUE(rounded_once(out, expected, 4e-6));
          EXPECT_TRUE(out.canaries_intact() && hidden.unchanged() && residual.unchanged());
        }
      }
    }
  }
}

TEST_P(ResidualAddTest, OutMayBeTheHiddenStateOrTheResidual) {
  for (ResidualForm form : forms) {
    for (bool into_hidden : {false, true}) {
      const Tensor hidden = integers({{33, 65}, {}, 0}, 50),
                   residual = integers({{33, 65}, {}, 0}, 50);
      const reference::Matrix expected =
          reference::residual_add({hidden.matrix(), residual.matrix(), {}, {}, {}, form, 2.0});
      ResidualAddParams p;
      p.hidden_state = hidden;
      p.residual = residual;
      p.form = form;
      p.mp_size = 2;
      const Tensor& out = into_hidden ? hidden : residual;
      run(p, out);
      EXPECT_TRUE(exact(out, expected)) << "form " << static_cast<int>(form);
    }
  }
}

TEST_P(ResidualAddTest, AnyRankStrideAndSize) {
  const Tensor hidden = integers({{2, 5, 33}, {33, 66, 1}, 0}, 9),
               residual = integers({{2, 5, 33}, {0, -40, 1}, 0}, 9);
  Tensor out = empty({{2, 5, 33}, {}, 0});
  ResidualAddParams p;
  p.hidden_state = hidden;
  p.residual = residual;
  p.form = ResidualForm::post_ln;
  run(p, out);
  EXPECT_TRUE(exact(out, reference::sum(hidden.matrix(), residual.matrix(), {})));
  for (const Layout& layout : {Layout{{0, 8}, {}, 0}, Layout{{3, 0}, {}, 0}}) {
    const Tensor nothing = empty(layout), target = empty(layout);
    p.hidden_state = nothing;
    p.residual = nothing;
    EXPECT_NO_THROW(run(p, target));
  }
}

}  // namespace
}  // namespace test
}  // namespace postlude
