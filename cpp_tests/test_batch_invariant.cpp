// batch_invariant: a row has the same bits whatever the number of rows is.
#include <gtest/gtest.h>

#include <algorithm>

#include "support/compare.hpp"
#include "support/setting.hpp"

namespace postlude {
namespace test {
namespace {

using BatchInvariantTest = SettingTest;
POSTLUDE_TEST_SUITE(BatchInvariantTest);

constexpr std::int64_t all = 130;

// Rows first to first + count of a matrix.
TensorView rows_of(const TensorView& view, std::int64_t first, std::int64_t count) {
  char* data = static_cast<char*>(view.data()) +
               first * view.stride(0) * static_cast<std::int64_t>(size_of(view.dtype()));
  return TensorView(data, view.dtype(), {count, view.size(1)}, {view.stride(0), 1}, view.device());
}

// Runs `call(context, first, count, out)` over all rows at once and over parts of them, and
// compares the bits.
template <class Call>
void check_parts(const Setting& setting, std::int64_t columns, const Call& call) {
  Context context(setting.device);
  context.set_batch_invariant(true);
  EXPECT_TRUE(context.batch_invariant());
  const Layout layout{{all, columns}, {}, 0};
  const Tensor whole(setting.device, setting.dtype, layout);
  call(context, 0, all, whole.view());
  for (std::int64_t count : {1, 2, 7, 16, 33, 64, 65, 129}) {
    const Tensor part(setting.device, setting.dtype, layout);
    for (std::int64_t first = 0; first < all; first += count) {
      const std::int64_t rows = std::min(count, all - first);
      call(context, first, rows, rows_of(part, first, rows));
    }
    EXPECT_TRUE(same_bits(whole, part)) << "in parts of " << count << " rows";
  }
}

TEST_P(BatchInvariantTest, Linear) {
  const std::int64_t n = 96, k = 300;
  const Tensor x = normal({{all, k}, {}, 0}), bias = normal({{n}, {}, 0}),
               residual = normal({{all, n}, {}, 0});
  const Tensor weight = normal({{n, k}, {}, 0}, 0.1);
  Context packing(device());
  for (bool gated : {false, true}) {
    PackOptions options;
    options.gated = gated;
    for (const WeightRef& ref :
         {WeightRef(weight.view()), WeightRef(api::pack_weight(weight, options, packing)),
          WeightRef(api::quantize_weight(weight, {}, packing))}) {
      SCOPED_TRACE(::testing::Message()
                   << (ref.plain() ? "plain" : to_string(ref.prepared().dtype()))
                   << (gated ? " gated" : ""));
      check_parts(
          GetParam(), gated ? n / 2 : n,
          [&](Context& context, std::int64_t first, std::int64_t count, const TensorView& out) {
            LinearParams p;
            p.x = rows_of(x, first, count);
            p.weight = ref;
            p.epilogue.bias = bias;
            p.epilogue.activation = Activation::gelu_tanh;
            p.epilogue.gated = gated;
            if (!gated) p.epilogue.residual = rows_of(residual, first, count);
            run(p, out, context);
          });
    }
  }
}

TEST_P(BatchInvariantTest, LongSums) {
  const std::int64_t n = 40, k = 2100;
  const Tensor x = normal({{all, k}, {}, 0}), weight = normal({{n, k}, {}, 0}, 0.02);
  Context packing(device());
  for (const WeightRef& ref :
       {WeightRef(weight.view()), WeightRef(api::pack_weight(weight, {}, packing))}) {
    check_parts(
        GetParam(), n,
        [&](Context& context, std::int64_t first, std::int64_t count, const TensorView& out) {
          LinearParams p;
          p.x = rows_of(x, first, count);
          p.weight = ref;
          run(p, out, context);
        });
  }
}

TEST_P(BatchInvariantTest, MlpAndQkv) {
  const std::int64_t h = 64, i = 160;
  const Tensor x = normal({{all, h}, {}, 0}), weight_in = normal({{i, h}, {}, 0}, 0.1);
  const Tensor weight_out = normal({{h, i}, {}, 0}, 0.1), gamma = normal({{h}, {}, 0}),
               beta = normal({{h}, {}, 0});
  Context packing(device());
  for (bool packed : {false, true}) {
    WeightRef in = weight_in.view(), out_weight = weight_out.view();
    if (packed) {
      in = api::pack_weight(weight_in, {}, packing);
      out_weight = api::pack_weight(weight_out, {}, packing);
    }
    SCOPED_TRACE(packed ? "packed" : "plain");
    check_parts(
        GetParam(), h,
        [&](Context& context, std::int64_t first, std::int64_t count, const TensorView& out) {
          MlpParams p;
          p.x = rows_of(x, first, count);
          p.weight_in = in;
          p.weight_out = out_weight;
          p.activation = Activation::silu;
          p.norm = Norm::layer(gamma, beta, 1e-5f);
          run(p, out, context);
        });
    check_parts(
        GetParam(), i,
        [&](Context& context, std::int64_t first, std::int64_t count, const TensorView& out) {
          QkvParams p;
          p.x = rows_of(x, first, count);
          p.weight = in;
          p.norm = Norm::rms(gamma, 1e-5f);
          run(p, out, context);
        });
  }
}

TEST_P(BatchInvariantTest, NormAndResidualAdd) {
  const std::int64_t h = 300;
  const Tensor x = normal({{all, h}, {}, 0}), residual = normal({{all, h}, {}, 0});
  check_parts(GetParam(), h,
              [&](Context& context, std::int64_t first, std::int64_t count, const TensorView& out) {
                NormParams p;
                p.x = rows_of(x, first, count);
                p.residual = rows_of(residual, first, count);
                p.norm = Norm::layer({}, {}, 1e-5f);
                run(p, out, context);
              });
  check_parts(GetParam(), h,
              [&](Context& context, std::int64_t first, std::int64_t count, const TensorView& out) {
                ResidualAddParams p;
                p.hidden_state = rows_of(x, first, count);
                p.residual = rows_of(residual, first, count);
                p.mp_size = 3;
                run(p, out, context);
              });
}

}  // namespace
}  // namespace test
}  // namespace postlude
