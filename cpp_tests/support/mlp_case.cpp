// Builds the tensors of an MlpCase, and checks the call.
#include "support/mlp_case.hpp"

#include <cmath>
#include <sstream>

#include "support/compare.hpp"

namespace postlude {
namespace test {

std::string describe(const MlpCase& c, Setting setting) {
  std::ostringstream text;
  text << describe(setting) << " M " << c.shape.m << " H " << c.shape.h << " I " << c.shape.i
       << " N " << c.shape.n << " " << to_string(c.activation);
  if (c.gated) text << " gated " << to_string(c.layout);
  if (c.clamp) text << " clamp " << *c.clamp;
  if (c.biases) text << " biases";
  if (c.f32_vectors) text << " f32 vectors";
  if (c.norm == NormKind::layer) text << " LayerNorm";
  if (c.norm == NormKind::rms) text << " RMSNorm offset " << c.weight_offset;
  if (c.residual) text << " residual";
  if (c.input_bias) text << " input_bias";
  if (c.add == Residual::added) text << " add_residual";
  if (c.add == Residual::parallel) text << " parallel_residual";
  if (c.residual_out) text << " residual_out";
  if (c.normed_out) text << " normed_out";
  if (c.transposed) text << " [in, out] weights";
  if (c.packed) text << " packed";
  if (c.pad != 0) text << " pad " << c.pad;
  return text.str();
}

MlpTensors::MlpTensors(const MlpCase& c, Setting setting, Context& context) : case_(c) {
  Random random(static_cast<std::uint64_t>(c.shape.m * 1000003 + c.shape.h * 1009 + c.shape.i));
  const auto [m, h, i, n] = c.shape;
  const std::int64_t rows_in = c.gated ? 2 * i : i;
  const DType dtype = setting.dtype, vector_dtype = c.f32_vectors ? DType::f32 : dtype;
  // Small and sparse integers keep h, a tensor that may be stored in between, exact in any dtype.
  const auto fill = [&](DType type, Layout layout, double scale, double mean = 0.0) {
    if (c.integers) return randint(setting.device, type, std::move(layout), random, 1, 0.25);
    return randn(setting.device, type, std::move(layout), random, scale, mean);
  };
  const auto matrix = [&](std::int64_t rows, std::int64_t cols) {
    return fill(dtype, c.transposed ? transposed(rows, cols, c.pad) : padded({rows, cols}, c.pad),
                1.0 / std::sqrt(static_cast<double>(cols)));
  };
  x = fill(dtype, padded({m, h}, c.pad), 1.0);
  weight_in = matrix(rows_in, h);
  weight_out = matrix(n, i);
  if (c.biases) {
    bias_in = fill(vector_dtype, {{rows_in}, {}, 0}, 0.5);
    bias_out = fill(vector_dtype, {{n}, {}, 0}, 0.5);
  }
  if (c.norm != NormKind::none) norm_weight = fill(vector_dtype, {{h}, {}, 0}, 0.3, 1.0);
  if (c.norm == NormKind::layer) norm_bias = fill(vector_dtype, {{h}, {}, 0}, 0.3);
  if (c.residual) residual = fill(dtype, padded({m, h}, 2 * c.pad), 1.0);
  if (c.input_bias) input_bias = fill(vector_dtype, {{h}, {}, 0}, 0.5);
  if (c.add == Residual::parallel) parallel_residual = fill(dtype, padded({m, n}, c.pad), 1.0);
  if (c.residual_out) residual_out = Tensor(setting.device, dtype, padded({m, h}, 3 * c.pad));
  if (c.normed_out) normed_out = Tensor(setting.device, dtype, padded({m, h}, c.pad));
  out = Tensor(setting.device, dtype, padded({m, n}, c.pad));
  if (c.packed) {
    PackOptions options;
    options.gated = c.gated;
    options.layout = c.layout;
    packed_in_ = api::pack_weight(weight_in, options, context);
    packed_out_ = api::pack_weight(weight_out, {}, context);
  }
}

MlpParams MlpTensors::params() const {
  MlpParams p;
  p.x = x;
  p.weight_in = packed_in_ ? WeightRef(packed_in_) : WeightRef(weight_in.view());
  p.weight_out = packed_out_ ? WeightRef(packed_out_) : WeightRef(weight_out.view());
  p.bias_in = bias_in;
  p.bias_out = bias_out;
  p.activation = case_.activation;
  p.gated = case_.gated;
  p.layout = case_.layout;
  p.clamp = case_.clamp;
  p.norm.kind = case_.norm;
  p.norm.weight = norm_weight;
  p.norm.bias = norm_bias;
  p.norm.eps = case_.norm == NormKind::none ? 0.0f : 1e-5f;
  p.norm.weight_offset = case_.weight_offset;
  p.residual = residual;
  p.input_bias = input_bias;
  p.add_residual = case_.add == Residual::added;
  p.parallel_residual = parallel_residual;
  p.residual_out = residual_out;
  p.normed_out = normed_out;
  return p;
}

MlpActivations MlpTensors::activations() const {
  MlpActivations a;
  a.x = x;
  a.residual = residual;
  a.input_bias = input_bias;
  a.parallel_residual = parallel_residual;
  a.residual_out = residual_out;
  a.normed_out = normed_out;
  return a;
}

reference::Mlp MlpTensors::problem() const {
  reference::Mlp p;
  p.x = x.matrix();
  p.weight_in = weight_in.matrix();
  p.weight_out = weight_out.matrix();
  p.bias_in = bias_in.vector();
  p.bias_out = bias_out.vector();
  p.activation = case_.activation;
  p.gated = case_.gated;
  p.layout = case_.layout;
  p.clamp = case_.clamp;
  p.norm.kind = case_.norm;
  p.norm.weight = norm_weight.vector();
  p.norm.bias = norm_bias.vector();
  p.norm.eps = static_cast<double>(1e-5f);
  p.norm.weight_offset = static_cast<double>(case_.weight_offset);
  p.residual = residual.matrix();
  p.input_bias = input_bias.vector();
  p.add_residual = case_.add == Residual::added;
  p.parallel_residual = parallel_residual.matrix();
  return p;
}

namespace {

// mlp with every intermediate result rounded to the dtype.
reference::MlpResult plain_mlp(const reference::Mlp& p, DType dtype) {
  reference::MlpResult result;
  result.residual = stored(dtype, reference::sum(p.x, p.residual, {}));
  result.residual = stored(dtype, reference::sum(result.residual, {}, p.input_bias));
  result.normed = stored(dtype, reference::normalise(result.residual, p.norm));
  // Then the product alone, and row by row what follows it.
  reference::Epilogue product, act, second;
  product.bias = p.bias_in;
  const reference::Matrix z = stored(dtype, reference::linear(result.normed, p.weight_in, product));
  act.activation = p.activation;
  act.gated = p.gated;
  act.layout = p.layout;
  act.clamp = p.clamp;
  reference::Matrix h(z.rows, p.weight_out.cols);
  const reference::Matrix one(1, 1, {1.0});
  for (std::int64_t m = 0; m < z.rows; ++m) {
    const auto first = z.values.begin() + static_cast<std::ptrdiff_t>(m * z.cols);
    const reference::Matrix column(z.cols, 1, {first, first + static_cast<std::ptrdiff_t>(z.cols)});
    const reference::Matrix row = stored(dtype, reference::linear(one, column, act));
    for (std::int64_t i = 0; i < h.cols; ++i) h(m, i) = row(0, i);
  }
  second.bias = p.bias_out;
  result.out = stored(dtype, reference::linear(h, p.weight_out, second));
  const reference::Matrix& added =
      p.parallel_residual.present ? p.parallel_residual : result.residual;
  if (p.parallel_residual.present || p.add_residual) {
    result.out = stored(dtype, reference::sum(result.out, added, {}));
  }
  return result;
}

}  // namespace

MlpExpected MlpTensors::expected() const {
  const reference::Mlp p = problem();
  return {reference::mlp(p), plain_mlp(p, out.dtype())};
}

bool MlpTensors::canaries_intact() const {
  for (const Tensor* t : {&x, &weight_in, &weight_out, &bias_in, &bias_out, &norm_weight,
                          &norm_bias, &residual, &input_bias, &parallel_residual}) {
    if (!t->unchanged()) return false;
  }
  return out.canaries_intact() && residual_out.canaries_intact() && normed_out.canaries_intact();
}

void check_outputs(const MlpTensors& t, const MlpExpected& expected, bool integers) {
  const auto good = [&](const Tensor& got, const reference::Matrix& want,
                        const reference::Matrix& plain) {
    if (integers) return exact(got, want);
    return close(got.get(), want.values, tolerance(got.dtype(), plain.values, want.values));
  };
  EXPECT_TRUE(good(t.out, expected.exact.out, expected.plain.out)) << "out";
  if (t.residual_out) {
    EXPECT_TRUE(good(t.residual_out, expected.exact.residual, expected.plain.residual))
        << "residual_out";
  }
  if (t.normed_out) {
    EXPECT_TRUE(good(t.normed_out, expected.exact.normed, expected.plain.normed)) << "normed_out";
  }
}

void check_mlp(const MlpCase& c, Setting setting) {
  SCOPED_TRACE(describe(c, setting));
  Context context(setting.device);
  MlpTensors tensors(c, setting, context);
  ASSERT_NO_THROW(run(tensors.params(), tensors.out, context));
  check_outputs(tensors, tensors.expected(), c.integers);
  EXPECT_TRUE(tensors.canaries_intact()) << "something other than the outputs was written";
}

}  // namespace test
}  // namespace postlude
