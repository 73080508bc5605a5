// The C interface itself: statuses and texts, null arguments, structs of other versions, contexts
// and weights. Its ops are tested by every suite: see support/api.hpp.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "postlude/postlude.h"
#include "support/compare.hpp"
#include "support/setting.hpp"

namespace postlude {
namespace test {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Expects a status, and the beginning and a part of the text that goes with it.
void expect_error(postlude_status status, postlude_status wanted, const std::string& beginning,
                  const std::string& part) {
  const std::string text = postlude_last_error();
  EXPECT_EQ(status, wanted) << text;
  EXPECT_EQ(text.rfind(beginning, 0), 0u) << text;
  EXPECT_TRUE(contains(text, part)) << part << " in: " << text;
}
void expect_invalid(postlude_status status, const std::string& beginning, const std::string& part) {
  expect_error(status, POSTLUDE_INVALID_ARGUMENT, beginning, part);
}

struct Destroy {
  void operator()(postlude_context* context) const { postlude_context_destroy(context); }
  void operator()(postlude_weight* weight) const { postlude_weight_destroy(weight); }
};
using OwnedContext = std::unique_ptr<postlude_context, Destroy>;
using OwnedWeight = std::unique_ptr<postlude_weight, Destroy>;

OwnedContext make_context(Device device = {}) {
  postlude_context* context = nullptr;
  EXPECT_EQ(postlude_context_create(static_cast<std::int32_t>(device.type), device.index, nullptr,
                                    &context),
            POSTLUDE_OK)
      << postlude_last_error();
  return OwnedContext(context);
}

postlude_tensor to_c(const TensorView& view) {
  postlude_tensor tensor;
  to_dlpack(view, tensor);
  return tensor;
}

// A good call of linear on a device: x (4, 6), weight (10, 6).
class CApiTest : public SettingTest {
 protected:
  void SetUp() override {
    context_ = make_context(device());
    x = to_c(x_);
    weight = to_c(weight_);
    out = to_c(out_);
    postlude_linear_params_init(&params, sizeof params);
    params.x = &x;
    params.weight = &weight;
    ASSERT_EQ(postlude_context_reserve(context(), std::size_t{1} << 20), POSTLUDE_OK);
  }
  postlude_context* context() { return context_.get(); }
  void expect_right() {
    synchronize(device());
    EXPECT_TRUE(exact(out_, reference::linear(x_.matrix(), weight_.matrix(), {})));
    out_ = empty({{4, 10}, {}, 0});
    out = to_c(out_);
  }

  Tensor x_ = integers({{4, 6}, {}, 0}, 2), weight_ = integers({{10, 6}, {}, 0}, 2);
  Tensor out_ = empty({{4, 10}, {}, 0});
  postlude_tensor x, weight, out;
  postlude_linear_params params;
  OwnedContext context_;
};
POSTLUDE_TEST_SUITE(CApiTest);

TEST(CApi, SuitesGoThroughItWhenAskedTo) {
  const std::size_t before = api::calls_through_c();
  const Tensor x = tensor({}, DType::f32, {1, 2}, {1, 2}), out({}, DType::f32, {{1, 2}, {}, 0});
  NormParams p;
  p.x = x;
  run(p, out);
  EXPECT_EQ(api::calls_through_c() - before, api::through_c() ? 2u : 0u);
}

TEST(CApi, Versions) {
  const std::string version = std::to_string(POSTLUDE_VERSION_MAJOR) + "." +
                              std::to_string(POSTLUDE_VERSION_MINOR) + "." +
                              std::to_string(POSTLUDE_VERSION_PATCH);
  EXPECT_EQ(postlude_version(), version);
  char* text = nullptr;
  ASSERT_EQ(postlude_show_config(&text), POSTLUDE_OK);
  EXPECT_EQ(text, show_config());
  postlude_free_text(text);
  postlude_free_text(nullptr);
  expect_invalid(postlude_show_config(nullptr), "[show_config] text: expected", "NULL");
}

TEST(CApi, StatusNames) {
  EXPECT_STREQ(postlude_status_name(POSTLUDE_OK), "ok");
  EXPECT_STREQ(postlude_status_name(POSTLUDE_INVALID_ARGUMENT), "invalid argument");
  EXPECT_STREQ(postlude_status_name(POSTLUDE_UNSUPPORTED), "unsupported");
  EXPECT_STREQ(postlude_status_name(POSTLUDE_CUDA_ERROR), "CUDA error");
  EXPECT_STREQ(postlude_status_name(POSTLUDE_OUT_OF_MEMORY), "out of memory");
  EXPECT_STREQ(postlude_status_name(POSTLUDE_INTERNAL_ERROR), "internal error");
  for (postlude_status other : {-1, 6, 1000}) {
    EXPECT_STREQ(postlude_status_name(other), "unknown status");
  }
}

TEST(CApi, ActivationsAreNumberedAsInCpp) {
  for (std::int32_t i = 0; i <= POSTLUDE_RELU2; ++i) {
    EXPECT_STREQ(postlude_activation_name(i), to_string(static_cast<Activation>(i)));
    std::int32_t parsed = -1;
    EXPECT_EQ(postlude_parse_activation(postlude_activation_name(i), &parsed), POSTLUDE_OK);
    EXPECT_EQ(parsed, i);
  }
  std::int32_t parsed = -1;
  EXPECT_EQ(postlude_parse_activation("swish", &parsed), POSTLUDE_OK);
  EXPECT_EQ(parsed, POSTLUDE_SILU);
  EXPECT_EQ(postlude_activation_name(-1), nullptr);
  EXPECT_EQ(postlude_activation_name(POSTLUDE_RELU2 + 1), nullptr);
  expect_invalid(postlude_parse_activation("tanh", &parsed), "[parse_activation]", "'tanh'");
  expect_invalid(postlude_parse_activation(nullptr, &parsed), "[parse_activation] name", "NULL");
  expect_invalid(postlude_parse_activation("relu", nullptr), "[parse_activation] activation",
                 "NULL");
}

TEST(CApi, EachThreadHasItsOwnText) {
  expect_invalid(postlude_context_reserve(nullptr, 1), "[context_reserve] context", "NULL");
  const std::string mine = postlude_last_error();
  std::thread other([] {
    EXPECT_STREQ(postlude_last_error(), "");
    EXPECT_EQ(postlude_last_cuda_error(), 0);
    EXPECT_EQ(postlude_context_release(nullptr), POSTLUDE_INVALID_ARGUMENT);
    EXPECT_TRUE(contains(postlude_last_error(), "[context_release]"));
  });
  other.join();
  EXPECT_EQ(postlude_last_error(), mine);
  EXPECT_EQ(make_context() == nullptr, false);
  EXPECT_EQ(postlude_last_error(), mine) << "a call that works leaves the text alone";
}

TEST(CApi, DestroyTakesNull) {
  postlude_context_destroy(nullptr);
  postlude_weight_destroy(nullptr);
  postlude_linear_params_init(nullptr, sizeof(postlude_linear_params));
}

TEST(CApi, DevicesThatAreNot) {
  postlude_context* context = reinterpret_cast<postlude_context*>(1);
  for (std::int32_t type : {-1, 0, 3, 99}) {
    expect_invalid(postlude_context_create(type, 0, nullptr, &context),
                   "[context_create] device_type: expected", std::to_string(type));
    EXPECT_EQ(context, nullptr) << "nothing to destroy where there was an error";
  }
  expect_invalid(postlude_context_create(POSTLUDE_CPU, 0, nullptr, nullptr),
                 "[context_create] context", "NULL");
  const postlude_status status = postlude_context_create(POSTLUDE_CUDA, 9999, nullptr, &context);
  if (devices().size() > 1) {  // there are GPUs, but not as many
    EXPECT_EQ(status, POSTLUDE_INVALID_ARGUMENT) << postlude_last_error();
  } else {
    EXPECT_TRUE(status == POSTLUDE_UNSUPPORTED || status == POSTLUDE_CUDA_ERROR) << status;
  }
  EXPECT_EQ(postlude_last_cuda_error() != 0, status == POSTLUDE_CUDA_ERROR);
  EXPECT_EQ(context, nullptr);
}

TEST(CApi, AMachineHasNoSuchMemory) {
  const OwnedContext context = make_context();
  for (std::size_t bytes : {SIZE_MAX, SIZE_MAX - 4096, SIZE_MAX / 2}) {
    expect_error(postlude_context_reserve(context.get(), bytes), POSTLUDE_OUT_OF_MEMORY,
                 "the host is out of memory", "");
  }
  EXPECT_EQ(postlude_context_reserve(context.get(), 4096), POSTLUDE_OK) << "and goes on";
}

TEST_P(CApiTest, ContextsSayWhatTheyHold) {
  void* stream = reinterpret_cast<void*>(std::uintptr_t{42});
  EXPECT_EQ(postlude_context_set_stream(context(), stream), POSTLUDE_OK);
  EXPECT_EQ(postlude_context_set_batch_invariant(context(), 2), POSTLUDE_OK);
  EXPECT_EQ(postlude_context_set_weights_static(context(), 0), POSTLUDE_OK);
  EXPECT_EQ(postlude_context_set_allow_tf32(context(), 1), POSTLUDE_OK);
  postlude_context_info info;
  info.struct_size = sizeof info;
  ASSERT_EQ(postlude_context_get_info(context(), &info), POSTLUDE_OK);
  EXPECT_EQ(info.struct_size, sizeof info);
  EXPECT_EQ(info.device_type, static_cast<std::int32_t>(device().type));
  EXPECT_EQ(info.device_id, device().index);
  EXPECT_EQ(info.stream, stream);
  EXPECT_EQ(info.workspace_bytes, std::size_t{1} << 20);
  EXPECT_EQ(info.batch_invariant, 1);
  EXPECT_EQ(info.weights_static, 0);
  EXPECT_EQ(info.allow_tf32, 1);
  EXPECT_EQ(postlude_context_set_stream(context(), nullptr), POSTLUDE_OK);
  EXPECT_EQ(postlude_context_release(context()), POSTLUDE_OK);
  ASSERT_EQ(postlude_context_get_info(context(), &info), POSTLUDE_OK);
  EXPECT_EQ(info.workspace_bytes, 0u);
  info.struct_size = 0;
  expect_invalid(postlude_context_get_info(context(), &info),
                 "[context_get_info] info.struct_size: expected", "0");
  expect_invalid(postlude_context_get_info(context(), nullptr), "[context_get_info] info", "NULL");
  expect_invalid(postlude_context_get_info(nullptr, &info), "[context_get_info] context", "NULL");
}

TEST_P(CApiTest, TheCallersWorkspace) {
  const Tensor rows = normal({{4, 64}, {}, 0}), wide = normal({{96, 64}, {}, 0}, 0.1);
  const postlude_tensor cx = to_c(rows), cw = to_c(wide);
  Tensor result = empty({{4, 96}, {}, 0});
  const postlude_tensor target = to_c(result);
  postlude_norm norm;
  postlude_norm_init(&norm, sizeof norm);
  norm.kind = POSTLUDE_RMS_NORM;
  norm.eps = 1e-5f;
  postlude_qkv_params qkv_params;
  postlude_qkv_params_init(&qkv_params, sizeof qkv_params);
  qkv_params.x = &cx;
  qkv_params.weight = &cw;
  qkv_params.norm = &norm;
  std::size_t bytes = 0;
  ASSERT_EQ(postlude_qkv_workspace_size(&qkv_params, &target, context(), &bytes), POSTLUDE_OK);
  ASSERT_EQ(postlude_context_release(context()), POSTLUDE_OK);
  if (bytes > 0) {
    expect_invalid(postlude_qkv(&qkv_params, &target, context()), "[qkv] workspace: expected",
                   std::to_string(bytes));
  }
  const std::shared_ptr<void> memory = allocate(device(), bytes + 256);
  expect_invalid(
      postlude_context_set_workspace(context(), static_cast<char*>(memory.get()) + 1, bytes),
      "[Context.set_workspace] data", "256");
  expect_invalid(postlude_context_set_workspace(context(), nullptr, 1),
                 "[Context.set_workspace] data", "null");
  ASSERT_EQ(postlude_context_set_workspace(context(), memory.get(), bytes), POSTLUDE_OK);
  ASSERT_EQ(postlude_qkv(&qkv_params, &target, context()), POSTLUDE_OK) << postlude_last_error();
  synchronize(device());
  EXPECT_TRUE(close(result, reference::qkv(rows.matrix(), wide.matrix(), {},
                                           {NormKind::rms, {}, {}, double{1e-5f}, 0.0})));
}

TEST_P(CApiTest, NullArguments) {
  expect_invalid(postlude_linear(nullptr, &out, context()), "[linear] params: expected", "NULL");
  expect_invalid(postlude_linear(&params, &out, nullptr), "[linear] context: expected", "NULL");
  expect_invalid(postlude_linear(&params, nullptr, context()), "[linear] out: expected", "none");
  std::size_t bytes = 0;
  expect_invalid(postlude_linear_workspace_size(&params, &out, context(), nullptr),
                 "[linear] bytes: expected", "NULL");
  expect_invalid(postlude_linear_workspace_size(&params, &out, nullptr, &bytes),
                 "[linear] context: expected", "NULL");
  expect_invalid(postlude_linear_explain(&params, &out, context(), nullptr),
                 "[linear] text: expected", "NULL");
  expect_invalid(postlude_qkv(nullptr, &out, context()), "[qkv] params", "NULL");
  expect_invalid(postlude_mlp(nullptr, &out, context()), "[mlp] params", "NULL");
  expect_invalid(postlude_normalize(nullptr, &out, context()), "[norm] params", "NULL");
  expect_invalid(postlude_residual_add(nullptr, &out, context()), "[residual_add] params", "NULL");
  postlude_weight* made = nullptr;
  expect_invalid(postlude_pack_weight(nullptr, nullptr, context(), &made), "[pack_weight] weight",
                 "none");
  expect_invalid(postlude_pack_weight(&weight, nullptr, nullptr, &made), "[pack_weight] context",
                 "NULL");
  expect_invalid(postlude_pack_weight(&weight, nullptr, context(), nullptr), "[pack_weight]",
                 "NULL");
  expect_invalid(postlude_quantize_weight(&weight, nullptr, nullptr, &made),
                 "[quantize_weight] context", "NULL");
  expect_invalid(postlude_weight_unpack(nullptr, &out, context()), "[Weight.unpack] weight",
                 "NULL");
  postlude_weight_info info;
  info.struct_size = sizeof info;
  expect_invalid(postlude_weight_get_info(nullptr, &info), "[weight_get_info] weight", "NULL");
  expect_invalid(postlude_weight_get_scales(nullptr, &out), "[weight_get_scales] weight", "NULL");
  EXPECT_EQ(postlude_linear(&params, &out, context()), POSTLUDE_OK) << postlude_last_error();
  expect_right();
}

TEST_P(CApiTest, AWeightIsGivenOnce) {
  postlude_weight* made = nullptr;
  ASSERT_EQ(postlude_pack_weight(&weight, nullptr, context(), &made), POSTLUDE_OK);
  const OwnedWeight owned(made);
  params.prepared_weight = made;
  expect_invalid(postlude_linear(&params, &out, context()), "[linear] weight: expected", "both");
  params.weight = nullptr;
  ASSERT_EQ(postlude_linear(&params, &out, context()), POSTLUDE_OK) << postlude_last_error();
  expect_right();
  params.prepared_weight = nullptr;
  expect_invalid(postlude_linear(&params, &out, context()), "[linear] weight: expected", "none");
}

// What a program built against another version of the header hands over.
TEST_P(CApiTest, StructsOfOtherVersions) {
  for (std::size_t size : {std::size_t{0}, std::size_t{8}, sizeof params - 1}) {
    params.struct_size = size;
    expect_invalid(postlude_linear(&params, &out, context()),
                   "[linear] params.struct_size: expected at least", std::to_string(size));
  }
  struct Later {
    postlude_linear_params params;
    const void* unknown[2];
  } later;
  std::memset(&later, 0xab, sizeof later);
  postlude_linear_params_init(&later.params, sizeof later);
  EXPECT_EQ(later.unknown[0], nullptr);
  EXPECT_EQ(later.unknown[1], nullptr);
  EXPECT_EQ(later.params.struct_size, sizeof later);
  EXPECT_EQ(later.params.alpha, 1.0f);
  later.params.x = &x;
  later.params.weight = &weight;
  ASSERT_EQ(postlude_linear(&later.params, &out, context()), POSTLUDE_OK) << postlude_last_error();
  expect_right();
  later.unknown[1] = &x;
  expect_invalid(postlude_linear(&later.params, &out, context()),
                 "[linear] params.struct_size: expected at most", "later version");
  // An older program's init must not write beyond the struct that it knows.
  struct Earlier {
    unsigned char known[sizeof(postlude_mlp_params) - 8];
    unsigned char guard[8];
  } earlier;
  std::memset(&earlier, 0xab, sizeof earlier);
  postlude_mlp_params_init(reinterpret_cast<postlude_mlp_params*>(&earlier), sizeof earlier.known);
  for (unsigned char byte : earlier.guard) EXPECT_EQ(byte, 0xab);
}

TEST_P(CApiTest, NumbersThatNoEnumeratorHas) {
  for (std::int32_t wrong : {-1, 7, 256, 257, INT32_MAX, INT32_MIN}) {
    params.activation = wrong;  // 256 and 257 are none and relu in 8 bits
    expect_invalid(postlude_linear(&params, &out, context()), "[linear] activation: expected",
                   std::to_string(wrong));
    params.activation = 0;
    params.layout = wrong;
    expect_invalid(postlude_linear(&params, &out, context()), "[linear] layout: expected",
                   std::to_string(wrong));
    params.layout = 0;
    params.out_dtype = wrong;
    expect_invalid(postlude_linear(&params, &out, context()), "[linear] out_dtype: expected",
                   std::to_string(wrong));
    params.out_dtype = 0;
    postlude_norm norm;
    postlude_norm_init(&norm, sizeof norm);
    norm.kind = wrong;
    postlude_norm_params norm_params;
    postlude_norm_params_init(&norm_params, sizeof norm_params);
    norm_params.x = &x;
    norm_params.norm = &norm;
    expect_invalid(postlude_normalize(&norm_params, &x, context()), "[norm] norm.kind: expected",
                   std::to_string(wrong));
    postlude_quantize_options options;
    postlude_quantize_options_init(&options, sizeof options);
    options.grouping = wrong;
    postlude_weight* made = nullptr;
    expect_invalid(postlude_quantize_weight(&weight, &options, context(), &made),
                   "[quantize_weight] grouping: expected", std::to_string(wrong));
    expect_invalid(postlude_borrow_quantized(&weight, &weight, wrong, &made),
                   "[borrow_quantized] grouping: expected", std::to_string(wrong));
    EXPECT_EQ(made, nullptr);
  }
}

TEST_P(CApiTest, WeightsSayWhatTheyHold) {
  postlude_weight* made = nullptr;
  ASSERT_EQ(postlude_pack_weight(&weight, nullptr, context(), &made), POSTLUDE_OK);
  const OwnedWeight packed(made);
  postlude_weight_info info;
  info.struct_size = sizeof info;
  ASSERT_EQ(postlude_weight_get_info(packed.get(), &info), POSTLUDE_OK);
  EXPECT_EQ(info.out_features, 10);
  EXPECT_EQ(info.in_features, 6);
  EXPECT_GE(info.bytes, 60 * size_of(dtype()));
  EXPECT_EQ(info.dtype, static_cast<std::int32_t>(dtype()) + 1);
  EXPECT_EQ(info.device_type, static_cast<std::int32_t>(device().type));
  EXPECT_EQ(info.quantized, 0);
  expect_invalid(postlude_weight_get_scales(packed.get(), &out), "[weight_get_scales] weight",
                 to_string(dtype()));

  postlude_quantize_options options;
  postlude_quantize_options_init(&options, sizeof options);
  options.grouping = POSTLUDE_GROUP_K;
  options.group_size = 3;
  ASSERT_EQ(postlude_quantize_weight(&weight, &options, context(), &made), POSTLUDE_OK);
  const OwnedWeight quantized(made);
  ASSERT_EQ(postlude_weight_get_info(quantized.get(), &info), POSTLUDE_OK);
  EXPECT_EQ(info.dtype, POSTLUDE_I8);
  EXPECT_EQ(info.quantized, 1);
  EXPECT_EQ(info.grouping, POSTLUDE_GROUP_K);
  postlude_tensor scales;
  ASSERT_EQ(postlude_weight_get_scales(quantized.get(), &scales), POSTLUDE_OK);
  ASSERT_EQ(scales.ndim, 2);
  EXPECT_EQ(scales.shape[0], 10);
  EXPECT_EQ(scales.shape[1], 2);
  const TensorView view = from_dlpack(scales);
  EXPECT_EQ(view.device(), device());
  QuantizeOptions same;
  same.grouping = Grouping::k;
  same.group_size = 3;
  std::vector<float> got(20);
  copy_to_host(device(), got.data(), view.data(), 20 * sizeof(float));
  EXPECT_EQ(got, reference::quantize(weight_.matrix(), same).scales);
}

// What a program that goes on after errors does over and over; the sanitizers look for leaks.
TEST_P(CApiTest, ManyCallsRightAndWrong) {
  for (int i = 0; i < 300; ++i) {
    char* text = nullptr;
    ASSERT_EQ(postlude_linear_explain(&params, &out, context(), &text), POSTLUDE_OK);
    postlude_free_text(text);
    postlude_weight* made = nullptr;
    ASSERT_EQ(postlude_pack_weight(&weight, nullptr, context(), &made), POSTLUDE_OK);
    postlude_linear_params wrong = params;
    wrong.prepared_weight = made;
    wrong.weight = nullptr;
    ASSERT_EQ(postlude_linear(&wrong, &out, context()), POSTLUDE_OK);
    wrong.bias = &x;
    ASSERT_EQ(postlude_linear(&wrong, &out, context()), POSTLUDE_INVALID_ARGUMENT);
    synchronize(device());  // before what the call reads is freed
    postlude_weight_destroy(made);
    ASSERT_EQ(postlude_pack_weight(&weight, nullptr, nullptr, &made), POSTLUDE_INVALID_ARGUMENT);
    ASSERT_EQ(made, nullptr);
  }
  expect_right();
}

}  // namespace
}  // namespace test
}  // namespace postlude
