// mlp: every option against the reference, in place too.
#include <gtest/gtest.h>

#include "cases.hpp"
#include "support/compare.hpp"
#include "support/mlp_case.hpp"
#include "support/setting.hpp"

namespace postlude {
namespace test {
namespace {

using MlpTest = SettingTest;
POSTLUDE_TEST_SUITE(MlpTest);

constexpr NormKind norms[] = {NormKind::none, NormKind::layer, NormKind::rms};

TEST_P(MlpTest, EveryShapeWithEveryNorm) {
  for (const MlpShape& shape : cases::mlps) {
    for (NormKind norm : norms) {
      for (bool packed : {false, true}) {
        for (bool gated : {false, true}) {
          MlpCase c;
          c.shape = shape;
          c.norm = norm;
          c.packed = packed;
          c.gated = gated;
          c.biases = true;
          c.residual = true;
          c.input_bias = true;
          check_mlp(c, GetParam());
        }
      }
    }
  }
}

TEST_P(MlpTest, EveryCombinationOfInputsAndOutputs) {
  for (int bits = 0; bits < 32; ++bits) {
    for (Residual add : {Residual::none, Residual::added, Residual::parallel}) {
      MlpCase c;
      c.shape = {7, 33, 65, 33};
      c.norm = (bits & 1) != 0 ? NormKind::layer : NormKind::none;
      c.residual = (bits & 2) != 0;
      c.input_bias = (bits & 4) != 0;
      c.residual_out = (bits & 8) != 0;
      c.normed_out = (bits & 16) != 0;
      c.add = add;
      c.pad = 1;
      check_mlp(c, GetParam());
    }
  }
}

TEST_P(MlpTest, EveryActivationPlainAndGated) {
  for (Activation activation :
       {Activation::none, Activation::relu, Activation::gelu_erf, Activation::gelu_tanh,
        Activation::quick_gelu, Activation::silu, Activation::relu2}) {
    for (bool gated : {false, true}) {
      for (GateLayout layout : {GateLayout::gate_up, GateLayout::up_gate}) {
        MlpCase c;
        c.shape = {7, 33, 65, 33};
        c.activation = activation;
        c.gated = gated;
        c.layout = layout;
        c.biases = true;
        c.norm = NormKind::rms;
        check_mlp(c, GetParam());
      }
    }
  }
}

TEST_P(MlpTest, ExactOnSmallIntegers) {
  for (const MlpShape& shape : cases::mlps) {
    for (bool packed : {false, true}) {
      for (bool gated : {false, true}) {
        MlpCase c;
        c.integers = true;
        c.shape = shape;
        c.activation = Activation::relu;
        c.packed = packed;
        c.gated = gated;
        c.biases = true;
        c.residual = true;
        c.input_bias = true;
        c.residual_out = true;
        c.normed_out = true;
        c.pad = 2;
        check_mlp(c, GetParam());
      }
    }
  }
}

TEST_P(MlpTest, WeightsStoredInOut) {
  for (bool packed : {false, true}) {
    for (bool gated : {false, true}) {
      MlpCase c;
      c.shape = {33, 65, 127, 65};
      c.transposed = true;
      c.packed = packed;
      c.gated = gated;
      c.biases = true;
      c.norm = NormKind::layer;
      c.pad = 3;
      check_mlp(c, GetParam());
    }
  }
}

TEST_P(MlpTest, FloatVectorsNextToHalfActivations) {
  MlpCase c;
  c.shape = {7, 64, 127, 64};
  c.f32_vectors = true;
  c.biases = true;
  c.input_bias = true;
  c.norm = NormKind::layer;
  c.normed_out = true;
  check_mlp(c, GetParam());
}

TEST_P(MlpTest, GemmasNormAddsOneToItsWeight) {
  MlpCase c;
  c.shape = {7, 64, 127, 64};
  c.gated = true;
  c.norm = NormKind::rms;
  c.weight_offset = 1.0f;
  c.normed_out = true;
  check_mlp(c, GetParam());
}

TEST_P(MlpTest, ClampedGate) {
  MlpCase c;
  c.shape = {33, 65, 127, 65};
  c.gated = true;
  c.activation = Activation::quick_gelu;
  c.clamp = 0.75f;
  c.biases = true;
  check_mlp(c, GetParam());
}

// Rows that Hopper's first product normalises itself, and some that it does not, for their number
// or their length.
TEST_P(MlpTest, FewLongRowsWithANorm) {
  for (const std::int64_t k : {520, 1024, 1032, 2056}) {
    for (const std::int64_t m : {1, 3, 5}) {
      for (const NormKind norm : {NormKind::rms, NormKind::layer}) {
        for (const bool residual : {false, true}) {
          MlpCase c;
          c.shape = {m, k, 40, k};
          c.gated = norm == NormKind::rms;
          c.norm = norm;
          c.biases = true;
          c.residual = c.residual_out = residual;
          c.normed_out = true;
          c.f32_vectors = m == 3;
          c.pad = 8;
          check_mlp(c, GetParam());
        }
      }
    }
  }
}

TEST_P(MlpTest, OutputsNarrowerOrWiderThanTheInput) {
  for (std::int64_t n : {1, 20, 130}) {
    for (Residual add : {Residual::none, Residual::parallel}) {
      MlpCase c;
      c.shape = {7, 65, 33, n};
      c.add = add;
      c.biases = true;
      check_mlp(c, GetParam());
    }
  }
}

TEST_P(MlpTest, EmptyDimensions) {
  for (const MlpShape& shape : {MlpShape{0, 8, 16, 8}, MlpShape{3, 8, 0, 8}, MlpShape{3, 0, 8, 0},
                                MlpShape{3, 0, 0, 0}, MlpShape{0, 0, 0, 0}}) {
    for (bool gated : {false, true}) {
      MlpCase c;
      c.shape = shape;
      c.gated = gated;
      c.biases = true;
      c.residual = true;
      c.residual_out = true;
      c.normed_out = true;
      check_mlp(c, GetParam());
    }
  }
}

// Which memory an output shares.
enum class Place { own, x, residual };

void check_in_place(MlpCase c, Setting setting, Place out, Place residual_out) {
  const auto name = [](Place place) {
    return place == Place::own ? "its own memory" : place == Place::x ? "x" : "the residual";
  };
  SCOPED_TRACE(describe(c, setting) + ", out is " + name(out) + ", residual_out is " +
               name(residual_out));
  Context context(setting.device);
  MlpTensors t(c, setting, context);
  const MlpExpected expected = t.expected();
  if (out != Place::own) t.out = out == Place::x ? t.x : t.residual;
  if (residual_out != Place::own) t.residual_out = residual_out == Place::x ? t.x : t.residual;
  ASSERT_NO_THROW(run(t.params(), t.out, context));
  check_outputs(t, expected);
}

TEST_P(MlpTest, InPlace) {
  for (Place out : {Place::own, Place::x, Place::residual}) {
    for (Place residual_out : {Place::own, Place::x, Place::residual}) {
      if (out == residual_out && out != Place::own) continue;
      for (NormKind norm : norms) {
        for (bool residual : {false, true}) {
          if (!residual && (out == Place::residual || residual_out == Place::residual)) continue;
          for (std::int64_t m : {7, 130}) {
            for (Residual add : {Residual::none, Residual::added, Residual::parallel}) {
              MlpCase c;
              c.shape = {m, 33, 65, 33};
              c.norm = norm;
              c.residual = residual;
              c.biases = true;
              c.residual_out = residual_out != Place::own;
              c.normed_out = m == 7;
              c.add = add;
              check_in_place(c, GetParam(), out, residual_out);
            }
          }
        }
      }
    }
  }
}

TEST_P(MlpTest, TheParallelResidualMayBeX) {
  for (bool in_place : {false, true}) {
    MlpCase c;
    c.shape = {7, 33, 65, 33};
    c.norm = NormKind::layer;
    Context context(device());
    MlpTensors t(c, GetParam(), context);  // with add_residual the reference adds r = x too
    const MlpExpected expected = t.expected();
    MlpParams p = t.params();
    p.parallel_residual = p.x;
    if (in_place) t.out = t.x;
    ASSERT_NO_THROW(run(p, t.out, context));
    check_outputs(t, expected);
  }
}

TEST_P(MlpTest, Int8Weights) {
  for (Grouping grouping : {Grouping::rows, Grouping::k}) {
    for (std::int64_t m : {1, 33}) {
      MlpCase c;
      c.shape = {m, 64, 96, 64};
      c.gated = true;
      c.activation = Activation::silu;
      c.norm = NormKind::rms;
      c.biases = true;
      SCOPED_TRACE(describe(c, GetParam()));
      Context context(device());
      MlpTensors t(c, GetParam(), context);
      QuantizeOptions options;
      options.grouping = grouping;
      options.groups = 8;
      options.group_size = 32;
      MlpParams p = t.params();
      p.weight_in = api::quantize_weight(t.weight_in, options, context);
      p.weight_out = api::quantize_weight(t.weight_out, options, context);
      ASSERT_NO_THROW(run(p, t.out, context));
      // Weights that are what was quantised, in float, so that the reference sees the same.
      for (Tensor* weight : {&t.weight_in, &t.weight_out}) {
        const reference::Matrix w = weight->matrix();
        const reference::Matrix rounded =
            reference::dequantize(reference::quantize(w, options), w.rows, w.cols);
        *weight = tensor(device(), DType::f32, {w.rows, w.cols}, rounded.values);
      }
      check_outputs(t, t.expected());
    }
  }
}

TEST_P(MlpTest, OutMayBeTheParallelResidual) {
  MlpCase c;
  c.shape = {7, 33, 65, 33};
  c.add = Residual::parallel;
  Context context(device());
  MlpTensors t(c, GetParam(), context);
  const MlpExpected expected = t.expected();
  t.out = t.parallel_residual;
  ASSERT_NO_THROW(run(t.params(), t.out, context));
  check_outputs(t, expected);
}

TEST_P(MlpTest, ActivationsOfAnyRankAndStride) {
  const std::int64_t b = 2, s = 5, h = 32, i = 48;
  const Layout swapped{{b, s, h}, {h, b * h, 1}, 0};  // does not collapse
  const Tensor x = normal(swapped),
               residual = normal({{b, s, h}, {0, h, 1}, 0});  // one for the whole batch
  const Tensor weight_in = normal({{i, h}, {}, 0}, 0.2), weight_out = normal({{h, i}, {}, 0}, 0.2);
  const Tensor gamma = normal({{h}, {}, 0}, 0.3, 1.0);
  Tensor out = empty(swapped), residual_out = empty({{b, s, h}, {s * h + 9, h, 1}, 0});
  MlpParams p;
  p.x = x;
  p.weight_in = weight_in.view();
  p.weight_out = weight_out.view();
  p.activation = Activation::silu;
  p.norm = Norm::rms(gamma, 1e-6f);
  p.residual = residual;
  p.residual_out = residual_out;
  ASSERT_NO_THROW(run(p, out));
  reference::Mlp q;
  q.x = x.matrix();
  q.residual = residual.matrix();
  q.weight_in = weight_in.matrix();
  q.weight_out = weight_out.matrix();
  q.activation = Activation::silu;
  q.norm = {NormKind::rms, gamma.vector(), {}, static_cast<double>(1e-6f), 0.0};
  const reference::MlpResult expected = reference::mlp(q);
  EXPECT_TRUE(close(out, expected.out));
  EXPECT_TRUE(close(residual_out, expected.residual));
  EXPECT_TRUE(out.canaries_intact() && residual_out.canaries_intact());
  EXPECT_TRUE(x.unchanged() && residual.unchanged());
}

TEST_P(MlpTest, StatisticsComeFromTheUnroundedSum) {
  // x is 64 everywhere, where half a unit is bf16's whole resolution; the residual holds all the
  // information.
  const std::int64_t m = 5, h = 256;
  const Tensor x = tensor(device(), dtype(), {m, h}, std::vector<double>(m * h, 64.0));
  const Tensor residual = normal({{m, h}, {}, 0});
  const Tensor weight_in = normal({{32, h}, {}, 0}, 0.05),
               weight_out = normal({{h, 32}, {}, 0}, 0.1);
  Tensor out = empty({{m, h}, {}, 0}), normed = empty({{m, h}, {}, 0});
  MlpParams p;
  p.x = x;
  p.residual = residual;
  p.weight_in = weight_in.view();
  p.weight_out = weight_out.view();
  p.activation = Activation::gelu_erf;
  p.norm = Norm::layer({}, {}, 1e-5f);
  p.add_residual = false;
  p.normed_out = normed;
  ASSERT_NO_THROW(run(p, out));
  const reference::Matrix n =
      reference::normalise(reference::sum(x.matrix(), residual.matrix(), {}),
                           {NormKind::layer, {}, {}, static_cast<double>(1e-5f), 0.0});
  // fp32 holds x + residual to 2^-18 here, which the norm keeps.
  const double limit = dtype() == DType::f32 ? 8e-6 : tolerance(dtype()).frobenius;
  EXPECT_TRUE(close(normed.get(), n.values, {limit}));
}

}  // namespace
}  // namespace test
}  // namespace postlude
