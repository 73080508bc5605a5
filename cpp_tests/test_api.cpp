// The small parts of the API: names and their parsing, the version, show_config, streams and bound
// op objects.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "support/compare.hpp"
#include "support/linear_case.hpp"
#include "support/mlp_case.hpp"
#include "support/setting.hpp"

namespace postlude {
namespace test {
namespace {

// A forgotten stream is a compile error.
static_assert(!std::is_constructible<StreamRef, int>::value, "an int is no stream");
static_assert(!std::is_constructible<StreamRef, std::nullptr_t>::value, "nullptr is no stream");
static_assert(!std::is_convertible<std::uintptr_t, StreamRef>::value, "a handle is named as one");
static_assert(std::is_convertible<CUstream_st*, StreamRef>::value, "a cudaStream_t is a stream");
static_assert(!std::is_copy_constructible<Context>::value, "a Context has one owner");
static_assert(std::is_nothrow_move_constructible<Context>::value, "and can be handed on");
static_assert(std::is_base_of<std::runtime_error, Unsupported>::value, "a standard exception");
static_assert(std::is_base_of<std::runtime_error, CudaError>::value, "a standard exception");

TEST(Names, OfActivationsAndTheirAliases) {
  for (Activation activation :
       {Activation::none, Activation::relu, Activation::gelu_erf, Activation::gelu_tanh,
        Activation::quick_gelu, Activation::silu, Activation::relu2}) {
    EXPECT_EQ(parse_activation(to_string(activation)), activation);
  }
  EXPECT_STREQ(to_string(Activation::gelu_erf), "gelu_erf");
  EXPECT_EQ(parse_activation("gelu"), Activation::gelu_erf);
  EXPECT_EQ(parse_activation("gelu_new"), Activation::gelu_tanh);
  EXPECT_EQ(parse_activation("gelu_pytorch_tanh"), Activation::gelu_tanh);
  EXPECT_EQ(parse_activation("swish"), Activation::silu);
}

TEST(Names, UnknownOnesAreRefusedWithTheList) {
  for (const char* name : {"", "GELU", "tanh", "gelu_erf "}) {
    try {
      parse_activation(name);
      ADD_FAILURE() << "accepted '" << name << "'";
    } catch (const std::invalid_argument& error) {
      const std::string text = error.what();
      for (const char* known : {"gelu_erf", "gelu_tanh", "silu", "relu2", "swish"}) {
        EXPECT_NE(text.find(known), std::string::npos) << text;
      }
      EXPECT_NE(text.find("'" + std::string(name) + "'"), std::string::npos) << text;
    }
  }
}

TEST(Names, OfGateLayouts) {
  for (GateLayout layout : {GateLayout::gate_up, GateLayout::up_gate}) {
    EXPECT_EQ(parse_gate_layout(to_string(layout)), layout);
  }
  EXPECT_THROW(parse_gate_layout("up"), std::invalid_argument);
}

TEST(Names, OfDtypesAndDevices) {
  EXPECT_STREQ(to_string(DType::f32), "float32");
  EXPECT_STREQ(to_string(DType::bf16), "bfloat16");
  EXPECT_STREQ(to_string(DType::f16), "float16");
  EXPECT_STREQ(to_string(DType::i8), "int8");
  EXPECT_EQ(to_string(Device{}), "cpu");
  EXPECT_EQ(to_string(Device{DeviceType::cuda, 1}), "cuda:1");
}

TEST(ShowConfig, HoldsTheVersionAndTheBackends) {
  const std::string text = show_config();
  const std::string version = std::to_string(POSTLUDE_VERSION_MAJOR) + "." +
                              std::to_string(POSTLUDE_VERSION_MINOR) + "." +
                              std::to_string(POSTLUDE_VERSION_PATCH);
  EXPECT_NE(text.find(version), std::string::npos) << text;
  EXPECT_NE(text.find("oneDNN"), std::string::npos) << text;
  std::cout << text;  // tools/check_architectures.py reads it
}

TEST(Streams, KeepTheirHandle) {
  EXPECT_EQ(StreamRef().get(), nullptr);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(StreamRef::from_handle(42).get()), 42u);
  Context context;
  context.set_stream(StreamRef::from_handle(42));
  EXPECT_EQ(context.stream().get(), StreamRef::from_handle(42).get());
}

using BoundTest = SettingTest;
POSTLUDE_TEST_SUITE(BoundTest);

TEST_P(BoundTest, Linear) {
  for (bool gated : {false, true}) {
    for (Binding binding : {Binding::pack, Binding::reference}) {
      LinearCase c;
      c.shape = {33, 48, 65};
      c.gated = gated;
      c.layout = GateLayout::up_gate;
      c.activation = Activation::gelu_tanh;
      c.bias = true;
      c.residual = true;
      c.alpha = 0.5f;
      SCOPED_TRACE(describe(c, GetParam()));
      Context context(device());
      LinearTensors t(c, GetParam(), context);
      const Linear op(t.params(), binding, context);
      EXPECT_EQ(op.packed_bytes() > 0, binding == Binding::pack);
      EXPECT_FALSE(static_cast<bool>(op.params().x));
      const reference::Matrix expected = t.expected();
      if (binding == Binding::pack) {  // its own copy: the plain weight may go
        t.weight.set(std::vector<double>(static_cast<std::size_t>(t.weight.view().numel()), 1e4));
        t.weight = {};
      }
      context.reserve(api::workspace_size(op.with(t.x, t.residual), t.out, context));
      op(t.x, t.residual, t.out, context);
      synchronize(device());
      EXPECT_TRUE(close(t.out, expected));
    }
  }
}

TEST_P(BoundTest, Qkv) {
  const Tensor x = normal({{7, 65}, {}, 0}), bias = normal({{99}, {}, 0}),
               gamma = normal({{65}, {}, 0}, 0.3, 1.0);
  for (Binding binding : {Binding::pack, Binding::reference}) {
    Tensor weight = normal({{99, 65}, {}, 0}, 0.1);
    const reference::Norm norm{NormKind::rms, gamma.vector(), {}, static_cast<double>(1e-5f), 0.0};
    const reference::Matrix expected =
        reference::qkv(x.matrix(), weight.matrix(), bias.vector(), norm);
    QkvParams p;
    p.weight = weight.view();
    p.bias = bias;
    p.norm = Norm::rms(gamma, 1e-5f);
    Context context(device());
    const Qkv op(p, binding, context);
    EXPECT_EQ(op.packed_bytes() > 0, binding == Binding::pack);
    if (binding == Binding::pack) weight = {};
    Tensor out = empty({{7, 99}, {}, 0}), normed = empty({{7, 65}, {}, 0});
    context.reserve(api::workspace_size(op.with(x, normed), out, context));
    op(x, normed, out, context);
    synchronize(device());
    EXPECT_TRUE(close(out, expected));
    EXPECT_TRUE(close(normed, reference::normalise(x.matrix(), norm)));
  }
}

TEST_P(BoundTest, Mlp) {
  for (Binding binding : {Binding::pack, Binding::reference}) {
    for (bool gated : {false, true}) {
      MlpCase c;
      c.shape = {33, 65, 127, 65};
      c.gated = gated;
      c.norm = NormKind::layer;
      c.biases = true;
      c.residual = true;
      c.residual_out = true;
      c.normed_out = true;
      Context context(device());
      MlpTensors t(c, GetParam(), context);
      const Mlp op(t.params(), binding, context);
      EXPECT_EQ(op.packed_bytes() > 0, binding == Binding::pack);
      const MlpExpected expected = t.expected();
      if (binding == Binding::pack) t.weight_in = t.weight_out = {};
      context.reserve(api::workspace_size(op.with(t.activations()), t.out, context));
      op(t.activations(), t.out, context);
      synchronize(device());
      check_outputs(t, expected);
    }
  }
}

TEST_P(BoundTest, OneObjectServesAnyNumberOfRows) {
  const Tensor weight = integers({{48, 33}, {}, 0}, 2);
  Context context(device());
  LinearParams p;
  p.weight = weight.view();
  const Linear op(p, Binding::pack, context);
  for (std::int64_t m : cases::rows) {
    const Tensor x = integers({{m, 33}, {}, 0}, 2), out = empty({{m, 48}, {}, 0});
    context.reserve(api::workspace_size(op.with(x), out, context));
    op(x, {}, out, context);
    synchronize(device());
    EXPECT_TRUE(exact(out, reference::linear(x.matrix(), weight.matrix(), {}))) << m;
  }
}

}  // namespace
}  // namespace test
}  // namespace postlude
