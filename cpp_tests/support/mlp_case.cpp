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
    packed_in_ = pack_weight(weight_in, options, context);
    packed_out_ = pack_weight(weight_out, {}, context);
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

reference::MlpResult MlpTensors::expected() const {
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
  return reference::mlp(p);
}

bool MlpTensors::canaries_intact() const {
  for (const Tensor* t : {&x, &weight_in, &weight_out, &bias_in, &bias_out, &norm_weight,
                          &norm_bias, &residual, &input_bias, &parallel_residual}) {
    if (!t->unchanged()) return false;
  }
  return out.canaries_intact() && residual_out.canaries_intact() && normed_out.canaries_intact();
}

void check_outputs(const MlpTensors& t, const reference::MlpResult& expected, bool integers) {
  const auto good = [&](const Tensor& got, const reference::Matrix& want) {
    return integers ? exact(got, want) : close(got, want);
  };
  EXPECT_TRUE(good(t.out, expected.out)) << "out";
  if (t.residual_out) {
    EXPECT_TRUE(good(t.residual_out, expected.residual)) << "residual_out";
  }
  if (t.normed_out) {
    EXPECT_TRUE(good(t.normed_out, expected.normed)) << "normed_out";
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
