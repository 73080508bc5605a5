// Builds the tensors of a LinearCase, and checks the call.
#include "support/linear_case.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "support/compare.hpp"

namespace postlude {
namespace test {

namespace {

bool is_int8(WeightForm form) {
  return form == WeightForm::int8_rows || form == WeightForm::int8_k;
}
bool is_packed(WeightForm form) {
  return form == WeightForm::packed || form == WeightForm::packed_transposed;
}
bool is_transposed(WeightForm form) {
  return form == WeightForm::transposed || form == WeightForm::packed_transposed;
}
std::int64_t weight_rows(const LinearCase& c) { return c.gated ? 2 * c.shape.n : c.shape.n; }

}  // namespace

const char* name_of(WeightForm form) {
  switch (form) {
    case WeightForm::plain:
      return "[N, K]";
    case WeightForm::transposed:
      return "[K, N]";
    case WeightForm::packed:
      return "packed";
    case WeightForm::packed_transposed:
      return "packed from [K, N]";
    case WeightForm::int8_rows:
      return "int8 rows";
    case WeightForm::int8_k:
      return "int8 k";
  }
  return "?";
}

std::string describe(const LinearCase& c, Setting setting) {
  std::ostringstream text;
  text << describe(setting) << " M " << c.shape.m << " N " << c.shape.n << " K " << c.shape.k
       << " weight " << name_of(c.weight) << " " << to_string(c.activation);
  if (c.gated) text << " gated " << to_string(c.layout);
  if (c.clamp) text << " clamp " << *c.clamp;
  if (c.bias) text << (c.bias_f32 ? " bias f32" : " bias");
  if (c.residual) text << " residual";
  if (c.alpha != 1.0f) text << " alpha " << c.alpha;
  if (c.row_scale != Scale::absent)
    text << " row_scale " << (c.row_scale == Scale::one ? "(1,)" : "(M,)");
  if (c.col_scale != Scale::absent)
    text << " col_scale " << (c.col_scale == Scale::one ? "(1,)" : "(N,)");
  if (c.mean) text << " row_mean col_sum";
  if (c.weight == WeightForm::int8_rows) text << " groups " << c.groups;
  if (c.weight == WeightForm::int8_k) text << " group_size " << c.group_size;
  if (c.out_dtype) text << " out_dtype " << short_name(*c.out_dtype);
  if (c.pad != 0) text << " pad " << c.pad;
  if (c.offset != 0) text << " offset " << c.offset;
  return text.str();
}

Tensor LinearTensors::fill(DType dtype, Layout layout, double scale) {
  if (case_.values == Values::integers) {
    return randint(setting_.device, dtype, std::move(layout), random_, 2);
  }
  return randn(setting_.device, dtype, std::move(layout), random_, scale);
}

Tensor LinearTensors::fill_scale(std::int64_t size) {
  Tensor result(setting_.device, DType::f32, {{size}, {}, 0});
  std::vector<double> values(static_cast<std::size_t>(size));
  for (double& value : values) {
    value = case_.values == Values::integers
                ? std::ldexp(1.0, static_cast<int>(random_.integer(-1, 1)))
                : 0.5 + random_.uniform();
  }
  result.set(values);
  return result;
}

LinearTensors::LinearTensors(const LinearCase& c, Setting setting, Context& context)
    : case_(c),
      setting_(setting),
      random_(static_cast<std::uint64_t>(c.shape.m * 1000003 + c.shape.n * 1009 + c.shape.k)) {
  const auto [m, n, k] = c.shape;
  const std::int64_t rows = weight_rows(c);
  const DType dtype = setting.dtype;
  x = fill(dtype, padded({m, k}, c.pad, c.offset), 1.0);
  const double spread = 1.0 / std::sqrt(static_cast<double>(std::max<std::int64_t>(k, 1)));
  Layout stored = padded({rows, k}, c.pad, c.offset);
  if (is_transposed(c.weight)) stored = transposed(rows, k, c.pad);
  weight = fill(dtype, std::move(stored), spread);
  if (c.bias) bias = fill(c.bias_f32 ? DType::f32 : dtype, {{rows}, {}, 0}, 1.0);
  if (c.residual) residual = fill(dtype, padded({m, n}, 2 * c.pad, c.offset), 1.0);
  if (c.row_scale != Scale::absent) row_scale = fill_scale(c.row_scale == Scale::one ? 1 : m);
  if (c.col_scale != Scale::absent) col_scale = fill_scale(c.col_scale == Scale::one ? 1 : rows);
  if (c.mean) {
    row_mean = fill(DType::f32, {{m}, {}, 0}, 1.0);
    col_sum = fill(DType::f32, {{rows}, {}, 0}, 1.0);
  }
  out = Tensor(setting.device, c.out_dtype.value_or(dtype), padded({m, n}, c.pad, c.offset));
  if (is_packed(c.weight)) {
    PackOptions options;
    options.gated = c.gated;
    options.layout = c.layout;
    prepared_ = api::pack_weight(weight, options, context);
  } else if (is_int8(c.weight)) {
    QuantizeOptions options;
    options.grouping = c.weight == WeightForm::int8_rows ? Grouping::rows : Grouping::k;
    options.groups = c.groups;
    options.group_size = c.group_size;
    prepared_ = api::quantize_weight(weight, options, context);
    dequantized_ = reference::dequantize(reference::quantize(weight.matrix(), options), rows, k);
  }
}

LinearParams LinearTensors::params() const {
  LinearParams p;
  p.x = x;
  p.weight = prepared_ ? WeightRef(prepared_) : WeightRef(weight.view());
  p.epilogue.row_scale = row_scale;
  p.epilogue.row_mean = row_mean;
  p.epilogue.col_scale = col_scale;
  p.epilogue.col_sum = col_sum;
  p.epilogue.bias = bias;
  p.epilogue.activation = case_.activation;
  p.epilogue.gated = case_.gated;
  p.epilogue.layout = case_.layout;
  p.epilogue.clamp = case_.clamp;
  p.epilogue.residual = residual;
  p.epilogue.alpha = case_.alpha;
  p.epilogue.out_dtype = case_.out_dtype;
  return p;
}

template <class Real>
reference::Matrix LinearTensors::compute() const {
  reference::Epilogue e;
  e.row_scale = row_scale.vector();
  e.row_mean = row_mean.vector();
  e.col_scale = col_scale.vector();
  e.col_sum = col_sum.vector();
  e.bias = bias.vector();
  e.activation = case_.activation;
  e.gated = case_.gated;
  e.layout = case_.layout;
  e.clamp = case_.clamp;
  e.residual = residual.matrix();
  e.alpha = static_cast<double>(case_.alpha);
  return reference::linear<Real>(x.matrix(), dequantized_.present ? dequantized_ : weight.matrix(),
                                 e);
}

reference::Matrix LinearTensors::expected() const { return compute<double>(); }
reference::Matrix LinearTensors::plain() const { return compute<float>(); }

bool LinearTensors::canaries_intact() const {
  for (const Tensor* t :
       {&x, &weight, &bias, &residual, &row_scale, &row_mean, &col_scale, &col_sum}) {
    if (!t->unchanged()) return false;
  }
  return out.canaries_intact();
}

void check_linear(const LinearCase& c, Setting setting, Context& context) {
  SCOPED_TRACE(describe(c, setting));
  LinearTensors tensors(c, setting, context);
  const LinearParams params = tensors.params();
  ASSERT_NO_THROW(run(params, tensors.out, context));
  const reference::Matrix expected = tensors.expected();
  if (c.values == Values::integers) {
    EXPECT_TRUE(exact(tensors.out, expected)) << api::explain(params, tensors.out, context);
  } else {
    Tolerance limit = tolerance(tensors.out.dtype());
    if (tensors.out.dtype() == DType::f32) {
      limit = tolerance(DType::f32, tensors.plain().values, expected.values);
    }
    EXPECT_TRUE(close(tensors.out.get(), expected.values, limit))
        << api::explain(params, tensors.out, context);
  }
  EXPECT_TRUE(tensors.canaries_intact()) << "something other than out was written";
}

void check_linear(const LinearCase& c, Setting setting) {
  Context context(setting.device);
  check_linear(c, setting, context);
}

}  // namespace test
}  // namespace postlude
