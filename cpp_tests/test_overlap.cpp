// Overlaps: an output is exactly x or the residual, or apart from everything that the call reads or
// writes.
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

#include "support/setting.hpp"

namespace postlude {
namespace test {
namespace {

class OverlapTest : public SettingTest {
 protected:
  // A (4, 6) tensor inside `buffer_`, `elements` from its start.
  TensorView at(std::int64_t elements) const { return shaped(elements, {4, 6}, {6, 1}); }
  TensorView shaped(std::int64_t elements, std::initializer_list<std::int64_t> shape,
                    std::initializer_list<std::int64_t> strides) const {
    char* data = static_cast<char*>(buffer_.view().data()) +
                 elements * static_cast<std::int64_t>(size_of(dtype()));
    return TensorView(data, dtype(), shape, strides, device());
  }
  // Expects a refusal of `argument` whose text names `other` too.
  template <class Params>
  void refused(const Params& params, const TensorView& out, const std::string& argument,
               const std::string& other) {
    SCOPED_TRACE(argument + " over " + other);
    try {
      run(params, out);
      ADD_FAILURE() << "accepted";
    } catch (const std::invalid_argument& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("] " + argument + ":"), std::string::npos) << text;
      EXPECT_NE(text.find(other), std::string::npos) << text;
      EXPECT_NE(text.find("overlap"), std::string::npos) << text;
    }
  }
  Tensor matrix() { return integers({{4, 6}, {}, 0}, 2); }

  const Tensor buffer_ = integers({{400}, {}, 0}, 2);
  const Tensor square_ = integers({{6, 6}, {}, 0}, 2), x_ = matrix(), out_ = empty({{4, 6}, {}, 0});
};
POSTLUDE_TEST_SUITE(OverlapTest);

TEST_P(OverlapTest, LinearRefusesAPartialOverlap) {
  for (std::int64_t shift : {1, 6, 23, -1, -6, -23}) {
    LinearParams p;
    p.x = at(100);
    p.weight = square_.view();
    refused(p, at(100 + shift), "out", "x");
    p.x = x_;
    p.epilogue.residual = at(100);
    refused(p, at(100 + shift), "out", "residual");
  }
  for (std::int64_t shift : {24, -24, 150, -100}) {
    LinearParams p;
    p.x = at(100);
    p.weight = square_.view();
    EXPECT_NO_THROW(run(p, at(100 + shift))) << shift;
  }
}

TEST_P(OverlapTest, LinearRefusesTheSameStartWithOtherStridesOrAnotherDtype) {
  LinearParams p;
  p.x = shaped(100, {4, 6}, {7, 1});
  p.weight = square_.view();
  refused(p, at(100), "out", "x");
  p.x = shaped(100, {4, 6}, {0, 1});
  refused(p, at(100), "out", "x");
  p.x = at(100);
  p.epilogue.out_dtype = dtype() == DType::f32 ? DType::bf16 : DType::f32;
  refused(p, TensorView(at(100).data(), *p.epilogue.out_dtype, {4, 6}, device()), "out", "x");
}

TEST_P(OverlapTest, LinearRefusesToWriteOverWhatItReads) {
  LinearParams p;
  p.x = x_;
  p.weight = shaped(100, {6, 6}, {6, 1});
  refused(p, at(130), "out", "weight");
  refused(p, at(100), "out", "weight");
  p.weight = square_.view();
  p.epilogue.bias = shaped(100, {6}, {1});
  refused(p, at(90), "out", "bias");
}

TEST_P(OverlapTest, AnOutputMayNotOverlapItself) {
  LinearParams p;
  p.x = x_;
  p.weight = square_.view();
  for (const TensorView& out :
       {shaped(100, {4, 6}, {0, 1}), shaped(100, {4, 6}, {5, 1}), shaped(100, {4, 6}, {-5, 1})}) {
    EXPECT_THROW(run(p, out), std::invalid_argument) << to_string(out);
  }
  EXPECT_NO_THROW(run(p, shaped(200, {4, 6}, {-6, 1})));
  EXPECT_NO_THROW(run(p, shaped(200, {4, 6}, {-9, 1})));
}

TEST_P(OverlapTest, ColumnsOfOneBufferAreApart) {
  // x and out are neighbouring columns of the same rows: their ranges of bytes overlap, no element
  // does.
  LinearParams p;
  p.x = shaped(100, {4, 6}, {12, 1});
  p.weight = square_.view();
  EXPECT_NO_THROW(run(p, shaped(106, {4, 6}, {12, 1})));
  refused(p, shaped(105, {4, 6}, {12, 1}), "out", "x");
}

TEST_P(OverlapTest, SlicesOfALeadingDimensionAreApart) {
  // x and out are neighbouring steps of the same sequences: buffer (2, 10, 6), steps 0 to 4 and 5
  // to 9.
  LinearParams p;
  p.x = shaped(100, {2, 5, 6}, {60, 6, 1});
  p.weight = square_.view();
  EXPECT_NO_THROW(run(p, shaped(130, {2, 5, 6}, {60, 6, 1})));
  refused(p, shaped(124, {2, 5, 6}, {60, 6, 1}), "out", "x");
}

TEST_P(OverlapTest, EmptyTensorsOverlapNothing) {
  LinearParams p;
  p.x = shaped(100, {0, 6}, {6, 1});
  p.weight = square_.view();
  EXPECT_NO_THROW(run(p, shaped(101, {0, 6}, {6, 1})));
}

TEST_P(OverlapTest, QkvKeepsItsTwoOutputsApart) {
  QkvParams p;
  p.x = x_;
  p.weight = square_.view();
  p.norm = Norm::rms({}, 1e-5f);
  p.normed_out = at(100);
  refused(p, at(101), "out", "normed_out");
  refused(p, at(100), "out", "normed_out");
  p.x = at(110);
  refused(p, out_, "normed_out", "x");
  p.x = x_;
  p.weight = shaped(90, {6, 6}, {6, 1});
  refused(p, out_, "normed_out", "weight");
}

TEST_P(OverlapTest, MlpKeepsItsOutputsApart) {
  MlpParams good;
  good.x = x_;
  good.weight_in = square_.view();
  good.weight_out = square_.view();
  good.norm = Norm::rms({}, 1e-5f);
  MlpParams p = good;
  p.x = at(100);
  refused(p, at(101), "out", "x");
  p = good;
  p.residual = at(100);
  refused(p, at(101), "out", "residual");
  p = good;
  p.residual_out = at(100);
  refused(p, at(100), "out", "residual_out");
  refused(p, at(90), "out", "residual_out");
  p.residual = at(101);
  refused(p, out_, "residual_out", "residual");
  p = good;
  p.normed_out = at(100);
  refused(p, at(99), "out", "normed_out");
  p.residual_out = at(105);
  refused(p, out_, "residual_out", "normed_out");
  p = good;
  p.normed_out = at(100);
  p.x = at(101);
  refused(p, out_, "normed_out", "x");
  p = good;
  p.weight_out = shaped(100, {6, 6}, {6, 1});
  refused(p, at(100), "out", "weight_out");
  p = good;
  p.parallel_residual = at(100);
  refused(p, at(101), "out", "parallel_residual");
}

TEST_P(OverlapTest, NormAndResidualAdd) {
  NormParams n;
  n.x = at(100);
  n.norm = Norm::rms({}, 1e-5f);
  refused(n, at(101), "out", "x");
  n.residual_out = at(101);
  refused(n, out_, "residual_out", "x");
  n.residual_out = at(200);
  refused(n, at(200), "out", "residual_out");
  n = {};
  n.x = x_;
  n.norm = Norm::rms(shaped(100, {6}, {1}), 1e-5f);
  refused(n, at(96), "out", "norm.weight");
  ResidualAddParams r;
  r.hidden_state = at(100);
  r.residual = x_;
  refused(r, at(103), "out", "hidden_state");
  r.hidden_state = x_;
  r.residual = at(100);
  refused(r, at(103), "out", "residual");
}

// Views without memory stand for tensors that are yet to be made: what is sized and explained with
// them is what the call with memory does.
TEST_P(OverlapTest, ViewsWithoutMemoryOverlapNothing) {
  const TensorView null(nullptr, dtype(), {4, 6}, device());
  Context context(device());
  const auto same_plan = [&](auto params, const TensorView& out, const auto& forget) {
    const std::size_t bytes = api::workspace_size(params, out, context);
    const std::string text = api::explain(params, out, context);
    forget(params);
    EXPECT_EQ(api::workspace_size(params, null, context), bytes);
    EXPECT_EQ(api::explain(params, null, context), text);
  };
  const Tensor another = matrix(), third = matrix();
  LinearParams linear;
  linear.x = x_;
  linear.weight = square_.view();
  same_plan(linear, out_, [&](auto& p) { p.x = null; });
  QkvParams qkv;
  qkv.x = x_;
  qkv.weight = square_.view();
  qkv.normed_out = another;
  same_plan(qkv, out_, [&](auto& p) { p.normed_out = null; });
  MlpParams mlp;
  mlp.x = x_;
  mlp.weight_in = mlp.weight_out = square_.view();
  mlp.residual_out = another;
  mlp.normed_out = third;
  same_plan(mlp, out_, [&](auto& p) { p.residual_out = p.normed_out = null; });
  NormParams norm;
  norm.x = x_;
  norm.residual_out = another;
  same_plan(norm, out_, [&](auto& p) { p.residual_out = null; });
}

}  // namespace
}  // namespace test
}  // namespace postlude
