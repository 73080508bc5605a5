// Errors: every wrong argument is refused by name, with what was expected and what came.
#include <gtest/gtest.h>

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/setting.hpp"

namespace postlude {
namespace test {
namespace {

// Expects std::invalid_argument with "[op] argument: expected ..., got ..." and each of `parts` in
// the text.
void expect_refused(const std::string& op, const std::string& argument,
                    const std::vector<std::string>& parts, const std::function<void()>& call) {
  SCOPED_TRACE("[" + op + "] " + argument);
  try {
    call();
  } catch (const std::invalid_argument& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.rfind("[" + op + "] " + argument, 0), 0u) << text;
    for (const char* word : {"expected", "got"})
      EXPECT_NE(text.find(word), std::string::npos) << text;
    for (const std::string& part : parts)
      EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text;
    return;
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another kind of error: " << error.what();
    return;
  }
  ADD_FAILURE() << "accepted";
}

class ErrorTest : public SettingTest {
 protected:
  void SetUp() override {
    linear_.x = x_;
    linear_.weight = weight_.view();
    qkv_.x = x_;
    qkv_.weight = weight_.view();
    mlp_.x = x_;
    mlp_.weight_in = weight_.view();
    mlp_.weight_out = weight_out_.view();
    norm_.x = x_;
    norm_.norm = Norm::layer({}, {}, 1e-5f);
    residual_add_.hidden_state = x_;
    residual_add_.residual = other_;
  }
  // The params differ from good ones in what `spoil` does; every entry point must see it.
  template <class Params>
  void refuse(Params params, const std::string& op, const std::string& argument,
              const std::vector<std::string>& parts, const TensorView& out,
              const std::function<void(Params&)>& spoil) {
    spoil(params);
    Context context(device());
    context.reserve(std::size_t{1} << 20);
    expect_refused(op, argument, parts, [&] { api::call(params, out, context); });
    expect_refused(op, argument, parts, [&] { api::workspace_size(params, out, context); });
    expect_refused(op, argument, parts, [&] { api::explain(params, out, context); });
  }
  void linear_refuses(const std::string& argument, const std::vector<std::string>& parts,
                      const std::function<void(LinearParams&)>& spoil) {
    refuse<LinearParams>(linear_, "linear", argument, parts, out_, spoil);
  }
  void mlp_refuses(const std::string& argument, const std::vector<std::string>& parts,
                   const std::function<void(MlpParams&)>& spoil) {
    refuse<MlpParams>(mlp_, "mlp", argument, parts, same_, spoil);
  }
  Tensor vector(std::int64_t size, DType type) { return Tensor(device(), type, {{size}, {}, 0}); }

  DType another() const { return dtype() == DType::f32 ? DType::bf16 : DType::f32; }

  const Tensor x_ = integers({{4, 6}, {}, 0}, 2), other_ = integers({{4, 6}, {}, 0}, 2);
  const Tensor weight_ = integers({{10, 6}, {}, 0}, 2), weight_out_ = integers({{6, 10}, {}, 0}, 2);
  const Tensor out_ = empty({{4, 10}, {}, 0}), same_ = empty({{4, 6}, {}, 0});
  LinearParams linear_;
  QkvParams qkv_;
  MlpParams mlp_;
  NormParams norm_;
  ResidualAddParams residual_add_;
};
POSTLUDE_TEST_SUITE(ErrorTest);

TEST_P(ErrorTest, TheGoodParamsAreGood) {
  EXPECT_NO_THROW(run(linear_, out_));
  EXPECT_NO_THROW(run(qkv_, out_));
  EXPECT_NO_THROW(run(mlp_, same_));
  EXPECT_NO_THROW(run(norm_, same_));
  EXPECT_NO_THROW(run(residual_add_, same_));
}

TEST_P(ErrorTest, MissingTensors) {
  linear_refuses("x", {"none"}, [](LinearParams& p) { p.x = {}; });
  linear_refuses("weight", {"none"}, [](LinearParams& p) { p.weight = {}; });
  refuse<LinearParams>(linear_, "linear", "out", {"none"}, {}, [](LinearParams&) {});
  refuse<QkvParams>(qkv_, "qkv", "x", {"none"}, out_, [](QkvParams& p) { p.x = {}; });
  refuse<QkvParams>(qkv_, "qkv", "weight", {"none"}, out_, [](QkvParams& p) { p.weight = {}; });
  mlp_refuses("weight_in", {"none"}, [](MlpParams& p) { p.weight_in = {}; });
  mlp_refuses("weight_out", {"none"}, [](MlpParams& p) { p.weight_out = {}; });
  refuse<NormParams>(norm_, "norm", "x", {"none"}, same_, [](NormParams& p) { p.x = {}; });
  refuse<ResidualAddParams>(residual_add_, "residual_add", "hidden_state", {"none"}, same_,
                            [](ResidualAddParams& p) { p.hidden_state = {}; });
  refuse<ResidualAddParams>(residual_add_, "residual_add", "residual", {"none"}, same_,
                            [](ResidualAddParams& p) { p.residual = {}; });
}

TEST_P(ErrorTest, WrongShapes) {
  const Tensor wide = empty({{4, 7}, {}, 0}), deep = empty({{1, 4, 10}, {}, 0}),
               three = empty({{3, 10}, {}, 0});
  linear_refuses("weight", {"7", "6"}, [&](LinearParams& p) { p.x = wide; });
  linear_refuses(
      "x", {}, [&](LinearParams& p) { p.x = TensorView(x_.view().data(), dtype(), {}, device()); });
  linear_refuses("weight", {"2 dim", "(10,)"}, [&](LinearParams& p) {
    p.weight = TensorView(weight_.view().data(), dtype(), {10}, device());
  });
  linear_refuses("bias", {"(10,)", "(9,)"},
                 [&](LinearParams& p) { p.epilogue.bias = vector(9, dtype()); });
  linear_refuses("bias", {"(10,)", "(1, 10)"}, [&](LinearParams& p) {
    p.epilogue.bias = Tensor(device(), dtype(), {{1, 10}, {}, 0});
  });
  linear_refuses("residual", {"(4, 10)", "(4, 6)"},
                 [&](LinearParams& p) { p.epilogue.residual = other_; });
  linear_refuses("row_scale", {"(4,)", "(5,)"},
                 [&](LinearParams& p) { p.epilogue.row_scale = vector(5, DType::f32); });
  linear_refuses("col_scale", {"(10,)", "(4,)"},
                 [&](LinearParams& p) { p.epilogue.col_scale = vector(4, DType::f32); });
  linear_refuses("row_mean", {"(4,)", "(1,)"}, [&](LinearParams& p) {
    p.epilogue.row_mean = vector(1, DType::f32);
    p.epilogue.col_sum = vector(10, DType::f32);
  });
  linear_refuses("col_sum", {"(10,)", "(1,)"}, [&](LinearParams& p) {
    p.epilogue.row_mean = vector(4, DType::f32);
    p.epilogue.col_sum = vector(1, DType::f32);
  });
  for (const Tensor& out : {deep, three, same_}) {
    refuse<LinearParams>(linear_, "linear", "out", {"(4, 10)"}, out, [](LinearParams&) {});
  }
  refuse<QkvParams>(qkv_, "qkv", "normed_out", {"(4, 6)", "(4, 10)"}, out_,
                    [&](QkvParams& p) { p.normed_out = empty({{4, 10}, {}, 0}); });
  refuse<QkvParams>(qkv_, "qkv", "norm.weight", {"(6,)", "(10,)"}, out_,
                    [&](QkvParams& p) { p.norm = Norm::rms(vector(10, dtype()), 1e-5f); });
  mlp_refuses("weight_out", {"10", "6"}, [&](MlpParams& p) { p.weight_out = weight_.view(); });
  mlp_refuses("bias_in", {"(10,)", "(6,)"}, [&](MlpParams& p) { p.bias_in = vector(6, dtype()); });
  mlp_refuses("bias_out", {"(6,)", "(10,)"},
              [&](MlpParams& p) { p.bias_out = vector(10, dtype()); });
  mlp_refuses("residual", {"(4, 6)", "(4, 10)"}, [&](MlpParams& p) { p.residual = out_; });
  mlp_refuses("input_bias", {"(6,)", "(10,)"},
              [&](MlpParams& p) { p.input_bias = vector(10, dtype()); });
  mlp_refuses("parallel_residual", {"(4, 6)", "(4, 10)"},
              [&](MlpParams& p) { p.parallel_residual = out_; });
  mlp_refuses("residual_out", {"(4, 6)", "(4, 10)"}, [&](MlpParams& p) { p.residual_out = out_; });
  mlp_refuses("normed_out", {"(4, 6)", "(4, 10)"}, [&](MlpParams& p) { p.normed_out = out_; });
  refuse<NormParams>(norm_, "norm", "add_after", {"(4, 6)", "(4, 10)"}, same_,
                     [&](NormParams& p) { p.add_after = out_; });
  refuse<NormParams>(norm_, "norm", "bias", {"(6,)", "(5,)"}, same_,
                     [&](NormParams& p) { p.bias = vector(5, dtype()); });
  refuse<ResidualAddParams>(residual_add_, "residual_add", "attention_output",
                            {"(4, 6)", "(4, 10)"}, same_,
                            [&](ResidualAddParams& p) { p.attention_output = out_; });
  refuse<ResidualAddParams>(residual_add_, "residual_add", "final_bias", {"(6,)", "(10,)"}, same_,
                            [&](ResidualAddParams& p) { p.final_bias = vector(10, dtype()); });
}

TEST_P(ErrorTest, TheResidualNeedsAsManyOutputsAsInputs) {
  const Tensor narrow = empty({{5, 10}, {}, 0}), out = empty({{4, 5}, {}, 0});
  refuse<MlpParams>(mlp_, "mlp", "weight_out", {"6", "5"}, out,
                    [&](MlpParams& p) { p.weight_out = narrow.view(); });
}

TEST_P(ErrorTest, WrongDtypes) {
  const std::string mine = to_string(dtype()), theirs = to_string(another());
  linear_refuses("x", {"int8"},
                 [&](LinearParams& p) { p.x = Tensor(device(), DType::i8, {{4, 6}, {}, 0}); });
  linear_refuses("weight", {mine, theirs}, [&](LinearParams& p) {
    p.weight = Tensor(device(), another(), {{10, 6}, {}, 0}).view();
  });
  linear_refuses("bias", {mine, "float16"}, [&](LinearParams& p) {
    p.epilogue.bias = vector(10, dtype() == DType::f16 ? DType::bf16 : DType::f16);
    if (dtype() == DType::f16) p.epilogue.bias = vector(10, DType::bf16);
  });
  linear_refuses("residual", {mine, theirs}, [&](LinearParams& p) {
    p.epilogue.residual = Tensor(device(), another(), {{4, 10}, {}, 0});
  });
  linear_refuses("row_scale", {"float32", "float16"},
                 [&](LinearParams& p) { p.epilogue.row_scale = vector(4, DType::f16); });
  linear_refuses("col_scale", {"float32", "bfloat16"},
                 [&](LinearParams& p) { p.epilogue.col_scale = vector(10, DType::bf16); });
  linear_refuses("out", {mine, theirs}, [&](LinearParams& p) { p.epilogue.out_dtype = another(); });
  linear_refuses("out_dtype", {"int8"}, [&](LinearParams& p) { p.epilogue.out_dtype = DType::i8; });
  refuse<QkvParams>(qkv_, "qkv", "out", {mine, theirs},
                    Tensor(device(), another(), {{4, 10}, {}, 0}), [](QkvParams&) {});
  mlp_refuses("residual", {mine, theirs},
              [&](MlpParams& p) { p.residual = Tensor(device(), another(), {{4, 6}, {}, 0}); });
  refuse<NormParams>(norm_, "norm", "norm.weight", {"int8"}, same_,
                     [&](NormParams& p) { p.norm.weight = vector(6, DType::i8); });
  Context context(device());
  linear_refuses("weight", {mine, theirs}, [&](LinearParams& p) {
    p.weight = api::pack_weight(Tensor(device(), another(), {{10, 6}, {}, 0}), {}, context);
  });
}

TEST_P(ErrorTest, InnerStrides) {
  const TensorView gaps(x_.view().data(), dtype(), {2, 6}, {12, 2}, device());
  const TensorView out(out_.view().data(), dtype(), {2, 10}, device());
  refuse<LinearParams>(linear_, "linear", "x", {"stride 1", "(12, 2)"}, out,
                       [&](LinearParams& p) { p.x = gaps; });
  refuse<NormParams>(norm_, "norm", "x", {"stride 1", "(12, 2)"},
                     TensorView(same_.view().data(), dtype(), {2, 6}, device()),
                     [&](NormParams& p) { p.x = gaps; });
  const TensorView strange(weight_.view().data(), dtype(), {5, 3}, {12, 2}, device());
  linear_refuses("weight", {"stride 1", "(12, 2)"}, [&](LinearParams& p) { p.weight = strange; });
  linear_refuses("bias", {"stride 1", "(2,)"}, [&](LinearParams& p) {
    p.epilogue.bias = TensorView(weight_.view().data(), dtype(), {10}, {2}, device());
  });
}

// A call needs memory behind every element; sizing and explaining it do not.
TEST_P(ErrorTest, NullPointersToElements) {
  Context context(device());
  context.reserve(std::size_t{1} << 20);
  const auto null = [&](std::initializer_list<std::int64_t> shape) {
    return TensorView(nullptr, dtype(), shape, device());
  };
  const auto needs_memory = [&](const std::string& op, const std::string& argument, auto params,
                                const TensorView& out, const auto& spoil) {
    spoil(params);
    expect_refused(op, argument, {"null"}, [&] { api::call(params, out, context); });
    EXPECT_NO_THROW(api::workspace_size(params, out, context));
    EXPECT_NO_THROW(api::explain(params, out, context));
  };
  const auto keep = [](auto&) {};
  needs_memory("linear", "x", linear_, out_, [&](auto& p) { p.x = null({4, 6}); });
  needs_memory("linear", "weight", linear_, out_, [&](auto& p) { p.weight = null({10, 6}); });
  needs_memory("linear", "bias", linear_, out_, [&](auto& p) { p.epilogue.bias = null({10}); });
  needs_memory("linear", "residual", linear_, out_,
               [&](auto& p) { p.epilogue.residual = null({4, 10}); });
  needs_memory("linear", "row_scale", linear_, out_, [&](auto& p) {
    p.epilogue.row_scale = TensorView(nullptr, DType::f32, {4}, device());
  });
  needs_memory("linear", "out", linear_, null({4, 10}), keep);
  needs_memory("qkv", "normed_out", qkv_, out_, [&](auto& p) { p.normed_out = null({4, 6}); });
  needs_memory("mlp", "weight_out", mlp_, same_, [&](auto& p) { p.weight_out = null({6, 10}); });
  needs_memory("mlp", "residual_out", mlp_, same_, [&](auto& p) { p.residual_out = null({4, 6}); });
  needs_memory("norm", "norm.weight", norm_, same_, [&](auto& p) { p.norm.weight = null({6}); });
  needs_memory("residual_add", "final_bias", residual_add_, same_,
               [&](auto& p) { p.final_bias = null({6}); });
  expect_refused("pack_weight", "weight", {"null"},
                 [&] { api::pack_weight(null({10, 6}), {}, context); });
}

// Values that no enumerator has, as a C caller may pass.
TEST_P(ErrorTest, UnknownEnumerators) {
  linear_refuses("activation", {"99"},
                 [](LinearParams& p) { p.epilogue.activation = static_cast<Activation>(99); });
  mlp_refuses("layout", {"7"}, [](MlpParams& p) { p.layout = static_cast<GateLayout>(7); });
  refuse<NormParams>(norm_, "norm", "norm.kind", {"5"}, same_,
                     [](NormParams& p) { p.norm.kind = static_cast<NormKind>(5); });
  refuse<ResidualAddParams>(residual_add_, "residual_add", "form", {"9"}, same_,
                            [](ResidualAddParams& p) { p.form = static_cast<ResidualForm>(9); });
}

TEST_P(ErrorTest, IllegalEpilogues) {
  linear_refuses("clamp", {}, [](LinearParams& p) { p.epilogue.clamp = 1.0f; });
  linear_refuses("clamp", {"-1"}, [](LinearParams& p) {
    p.epilogue.gated = true;
    p.epilogue.clamp = -1.0f;
  });
  linear_refuses("row_mean", {"col_sum"},
                 [&](LinearParams& p) { p.epilogue.row_mean = vector(4, DType::f32); });
  mlp_refuses("clamp", {}, [](MlpParams& p) { p.clamp = 1.0f; });
  Epilogue good;
  EXPECT_EQ(refusal(good), "");
  good.gated = true;
  good.clamp = 1.0f;
  EXPECT_EQ(refusal(good), "");
  good.clamp = 0.0f;
  EXPECT_NE(refusal(good), "");
  good.clamp = std::nanf("");
  EXPECT_NE(refusal(good), "");
}

TEST_P(ErrorTest, GatedWeightsHaveTwoHalves) {
  const Tensor odd = empty({{9, 6}, {}, 0});
  linear_refuses("weight", {"even", "9"}, [&](LinearParams& p) {
    p.weight = odd.view();
    p.epilogue.gated = true;
  });
  Context context(device());
  PackOptions options;
  options.gated = true;
  expect_refused("pack_weight", "weight", {"even", "9"},
                 [&] { api::pack_weight(odd, options, context); });
}

TEST_P(ErrorTest, Norms) {
  for (float eps : {-1.0f, std::nanf(""), HUGE_VALF}) {
    refuse<NormParams>(norm_, "norm", "norm.eps", {std::to_string(eps)}, same_,
                       [&](NormParams& p) { p.norm.eps = eps; });
  }
  refuse<NormParams>(norm_, "norm", "norm.bias", {"RMSNorm"}, same_, [&](NormParams& p) {
    p.norm = Norm::rms({}, 1e-5f);
    p.norm.bias = vector(6, dtype());
  });
}

TEST_P(ErrorTest, ResidualForms) {
  const auto refused = [&](const std::string& argument, const std::vector<std::string>& parts,
                           const std::function<void(ResidualAddParams&)>& spoil) {
    refuse<ResidualAddParams>(residual_add_, "residual_add", argument, parts, same_, spoil);
  };
  refused("mp_size", {"0"}, [](ResidualAddParams& p) { p.mp_size = 0; });
  refused("attention_output", {"post_ln"}, [&](ResidualAddParams& p) {
    p.form = ResidualForm::post_ln;
    p.attention_output = other_;
  });
  refused("attention_bias", {"post_ln"}, [&](ResidualAddParams& p) {
    p.form = ResidualForm::post_ln;
    p.attention_bias = vector(6, dtype());
  });
}

TEST_P(ErrorTest, PreparingWeights) {
  Context context(device());
  QuantizeOptions options;
  options.bits = 4;
  expect_refused("quantize_weight", "bits", {"8", "4"},
                 [&] { api::quantize_weight(weight_, options, context); });
  options = {};
  for (std::int64_t groups : {0, -1, 3, 11}) {
    options.groups = groups;
    expect_refused("quantize_weight", "groups", {"10", std::to_string(groups)},
                   [&] { api::quantize_weight(weight_, options, context); });
  }
  options = {};
  options.grouping = Grouping::k;
  for (std::int64_t group_size : {0, -2, 4, 12}) {
    options.group_size = group_size;
    expect_refused("quantize_weight", "group_size", {"6", std::to_string(group_size)},
                   [&] { api::quantize_weight(weight_, options, context); });
  }
  const Tensor int8(device(), DType::i8, {{10, 6}, {}, 0});
  expect_refused("quantize_weight", "weight", {"int8"},
                 [&] { api::quantize_weight(int8, {}, context); });
  expect_refused("pack_weight", "weight", {"int8"}, [&] { api::pack_weight(int8, {}, context); });
  expect_refused("pack_weight", "weight", {"2 dim", "(10,)"},
                 [&] { api::pack_weight(vector(10, dtype()), {}, context); });
  expect_refused("pack_weight", "weight", {"none"}, [&] { api::pack_weight({}, {}, context); });
  const auto borrow = [&](const std::string& argument, const std::vector<std::string>& parts,
                          const TensorView& weight, const TensorView& scales, Grouping grouping) {
    expect_refused("borrow_quantized", argument, parts,
                   [&] { api::borrow_quantized(weight, scales, grouping); });
  };
  borrow("weight", {"int8", to_string(dtype())}, weight_, vector(1, DType::f32), Grouping::rows);
  borrow("scales", {"float32", "bfloat16"}, int8, vector(1, DType::bf16), Grouping::rows);
  borrow("scales", {"10", "(3,)"}, int8, vector(3, DType::f32), Grouping::rows);
  borrow("scales", {"10", "(10,)"}, int8, vector(10, DType::f32), Grouping::k);
  borrow("scales", {"6", "(10, 4)"}, int8, Tensor(device(), DType::f32, {{10, 4}, {}, 0}),
         Grouping::k);
  const Weight packed = api::pack_weight(weight_, {}, context);
  expect_refused("Weight.unpack", "out", {"(10, 6)", "(4, 6)"},
                 [&] { api::unpack(packed, same_, context); });
  expect_refused("Weight.unpack", "out", {to_string(dtype()), to_string(another())}, [&] {
    api::unpack(packed, Tensor(device(), another(), {{10, 6}, {}, 0}), context);
  });
}

TEST_P(ErrorTest, AnotherDevice) {
  const Device elsewhere{device().type == DeviceType::cpu ? DeviceType::cuda : DeviceType::cpu, 0};
  const TensorView there(x_.view().data(), dtype(), {4, 6}, elsewhere);
  linear_refuses("x", {to_string(device()), to_string(elsewhere)},
                 [&](LinearParams& p) { p.x = there; });
  mlp_refuses("residual", {to_string(device()), to_string(elsewhere)},
              [&](MlpParams& p) { p.residual = there; });
  linear_refuses("weight", {to_string(device()), to_string(elsewhere)}, [&](LinearParams& p) {
    p.weight = TensorView(weight_.view().data(), dtype(), {10, 6}, elsewhere);
  });
}

TEST_P(ErrorTest, PartsOfAPreparedWeight) {
  const Device elsewhere{device().type == DeviceType::cpu ? DeviceType::cuda : DeviceType::cpu, 0};
  const std::vector<std::string> both = {to_string(device()), to_string(elsewhere)};
  const void* data = x_.view().data();  // of either device, as nothing reads it
  const DType other = dtype() == DType::f16 ? DType::bf16 : DType::f16;
  Context context(device());
  const auto pack = [&](const std::string& argument, const std::vector<std::string>& parts,
                        const Norm& norm) {
    PackOptions options;
    options.norm = norm;
    expect_refused("pack_weight", argument, parts,
                   [&] { api::pack_weight(weight_, options, context); });
  };
  pack("norm.weight", {"(6,)", "(7,)"}, Norm::rms(vector(7, dtype()), 1e-5f));
  pack("norm.weight", both, Norm::rms(TensorView(data, dtype(), {6}, elsewhere), 1e-5f));
  pack("norm.bias", {std::string("expected ") + to_string(dtype()), to_string(other)},
       Norm::layer(vector(6, dtype()), vector(6, other), 1e-5f));
  const TensorView q(data, DType::i8, {2, 4}, elsewhere), scales(data, DType::f32, {2}, elsewhere);
  expect_refused("borrow_quantized", "scales", both, [&] {
    api::borrow_quantized(q, TensorView(data, DType::f32, {2}, device()), Grouping::rows);
  });
  const Weight weight = api::borrow_quantized(q, scales, Grouping::rows);
  expect_refused("Weight.unpack", "context", both, [&] { api::unpack(weight, q, context); });
}

}  // namespace
}  // namespace test
}  // namespace postlude
