// Hostile DLTensors through the C interface: every argument of every op refuses them by name.
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "postlude/postlude.h"
#include "support/compare.hpp"
#include "support/setting.hpp"

namespace postlude {
namespace test {
namespace {

constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t smallest = std::numeric_limits<std::int64_t>::min();

// A DLTensor with shape and strides of its own.
struct Owned {
  postlude_tensor tensor;
  std::int64_t shape[16] = {};
  std::int64_t strides[16] = {};

  explicit Owned(const TensorView& view) {
    to_dlpack(view, tensor);
    copy(tensor);
  }
  Owned(const Owned& other) : tensor(other.tensor) { copy(other.tensor); }
  Owned& operator=(const Owned&) = delete;

 private:
  void copy(const postlude_tensor& from) {
    for (int d = 0; d < from.ndim; ++d) {
      shape[d] = from.shape[d];
      strides[d] = from.strides[d];
    }
    tensor.shape = shape;
    tensor.strides = strides;
  }
};

// What spoils a good tensor. Not all matters to sizing and explaining, which need no memory.
struct Spoil {
  const char* name;
  std::function<void(Owned&)> apply;
  bool of_memory = false;
};

const std::vector<Spoil>& spoils() {
  static const std::vector<Spoil> list = {
      {"no memory", [](Owned& t) { t.tensor.data = nullptr; }, true},
      {"no memory, and an offset",
       [](Owned& t) {
         t.tensor.data = nullptr;
         t.tensor.byte_offset = 64;
       },
       true},
      {"an odd address", [](Owned& t) { t.tensor.byte_offset = 1; }, true},
      {"an offset of 2^64 - 4", [](Owned& t) { t.tensor.byte_offset = ~std::uint64_t{3}; }},
      {"an offset of 2^63", [](Owned& t) { t.tensor.byte_offset = std::uint64_t{1} << 63; }},
      {"a negative size", [](Owned& t) { t.shape[0] = -1; }},
      {"the smallest size", [](Owned& t) { t.shape[0] = smallest; }},
      {"the largest size", [](Owned& t) { t.shape[0] = largest; }},
      {"a size of 2^62", [](Owned& t) { t.shape[0] = std::int64_t{1} << 62; }},
      {"the largest stride", [](Owned& t) { t.strides[0] = largest; }},
      {"the smallest stride", [](Owned& t) { t.strides[0] = smallest; }},
      {"no shape", [](Owned& t) { t.tensor.shape = nullptr; }},
      {"nine dimensions", [](Owned& t) { t.tensor.ndim = 9; }},
      {"many dimensions", [](Owned& t) { t.tensor.ndim = 0x7fffffff; }},
      {"minus one dimensions", [](Owned& t) { t.tensor.ndim = -1; }},
      {"no dimensions", [](Owned& t) { t.tensor.ndim = 0; }},
      {"two lanes", [](Owned& t) { t.tensor.dtype.lanes = 2; }},
      {"no lanes", [](Owned& t) { t.tensor.dtype.lanes = 0; }},
      {"double", [](Owned& t) { t.tensor.dtype.bits = 64; }},
      {"bool", [](Owned& t) { t.tensor.dtype = {6, 8, 1}; }},
      {"unsigned", [](Owned& t) { t.tensor.dtype = {1, 8, 1}; }},
      {"int8", [](Owned& t) { t.tensor.dtype = {0, 8, 1}; }},
      {"no type", [](Owned& t) { t.tensor.dtype = {255, 255, 1}; }},
      {"device 0", [](Owned& t) { t.tensor.device.device_type = 0; }},
      {"Vulkan", [](Owned& t) { t.tensor.device.device_type = 7; }},
      {"device -1", [](Owned& t) { t.tensor.device.device_type = -1; }},
      {"another GPU",
       [](Owned& t) {
         t.tensor.device.device_type = POSTLUDE_CUDA;
         t.tensor.device.device_id = 77;
       }},
      {"a GPU below 0",
       [](Owned& t) {
         t.tensor.device.device_type = POSTLUDE_CUDA;
         t.tensor.device.device_id = -1;
       }},
  };
  return list;
}

class HostileTest : public SettingTest {
 protected:
  void SetUp() override {
    ASSERT_EQ(postlude_context_create(static_cast<std::int32_t>(device().type), device().index,
                                      nullptr, &context_),
              POSTLUDE_OK);
    ASSERT_EQ(postlude_context_reserve(context_, std::size_t{1} << 20), POSTLUDE_OK);
  }
  void TearDown() override { postlude_context_destroy(context_); }

  void expect_refused(postlude_status status, const std::string& beginning,
                      const std::string& spoil) {
    const std::string text = postlude_last_error();
    EXPECT_EQ(status, POSTLUDE_INVALID_ARGUMENT) << beginning << " with " << spoil << ": " << text;
    EXPECT_EQ(text.rfind(beginning, 0), 0u) << spoil << " gives: " << text;
    for (const char* word : {"expected", "got"}) {
      EXPECT_NE(text.find(word), std::string::npos) << text;
    }
  }

  // Spoils `good` in every way, and passes each to the three ways in.
  struct Entry {
    std::function<postlude_status(const postlude_tensor*)> call, size, explain;
  };
  void spoil_all(const std::string& argument, const TensorView& good, const Entry& entry) {
    const Owned fine(good);
    ASSERT_EQ(entry.call(&fine.tensor), POSTLUDE_OK) << argument << ": " << postlude_last_error();
    for (const Spoil& spoil : spoils()) {
      Owned bad(good);
      spoil.apply(bad);
      expect_refused(entry.call(&bad.tensor), argument, spoil.name);
      if (spoil.of_memory) continue;
      expect_refused(entry.size(&bad.tensor), argument, spoil.name);
      expect_refused(entry.explain(&bad.tensor), argument, spoil.name);
    }
  }
  // The same for a tensor that is no part of a call of an op.
  void spoil_all(const std::string& argument, const TensorView& good,
                 const std::function<postlude_status(const postlude_tensor*)>& call) {
    for (const Spoil& spoil : spoils()) {
      Owned bad(good);
      spoil.apply(bad);
      expect_refused(call(&bad.tensor), argument, spoil.name);
    }
  }

  // One op with good parameters.
  template <class Params>
  struct Op {
    const char* name;
    postlude_status (*call)(const Params*, const postlude_tensor*, postlude_context*);
    postlude_status (*size)(const Params*, const postlude_tensor*, const postlude_context*,
                            std::size_t*);
    postlude_status (*explain)(const Params*, const postlude_tensor*, const postlude_context*,
                               char**);
    Params params;
    const postlude_tensor* out;
  };
  // An entry that lets `place` put the spoilt tensor into a copy of the parameters or of out.
  template <class Params, class Place>
  Entry entry(const Op<Params>& op, const Place& place) {
    const auto with = [op, place](const postlude_tensor* tensor, const auto& body) {
      Params params = op.params;
      const postlude_tensor* target = op.out;
      place(params, target, tensor);
      return body(params, target);
    };
    Entry result;
    result.call = [=](const postlude_tensor* t) {
      return with(t, [&](Params& p, const postlude_tensor* o) { return op.call(&p, o, context_); });
    };
    result.size = [=](const postlude_tensor* t) {
      return with(t, [&](Params& p, const postlude_tensor* o) {
        std::size_t bytes = 0;
        return op.size(&p, o, context_, &bytes);
      });
    };
    result.explain = [=](const postlude_tensor* t) {
      return with(t, [&](Params& p, const postlude_tensor* o) {
        char* text = nullptr;
        const postlude_status status = op.explain(&p, o, context_, &text);
        postlude_free_text(text);
        return status;
      });
    };
    return result;
  }
  template <class Params>
  void spoil_member(const Op<Params>& op, const char* argument,
                    const postlude_tensor* Params::* member, const TensorView& good) {
    spoil_all("[" + std::string(op.name) + "] " + argument, good,
              entry(op, [member](Params& p, const postlude_tensor*&, const postlude_tensor* t) {
                p.*member = t;
              }));
  }
  template <class Params>
  void spoil_out(const Op<Params>& op, const TensorView& good) {
    spoil_all("[" + std::string(op.name) + "] out", good,
              entry(op, [](Params&, const postlude_tensor*& target, const postlude_tensor* t) {
                target = t;
              }));
  }
  Tensor vector(std::int64_t size) { return normal({{size}, {}, 0}); }
  Tensor vector_f32(std::int64_t size) { return normal_f32({{size}, {}, 0}); }

  postlude_context* context_ = nullptr;
  Tensor x_ = normal({{4, 6}, {}, 0}), other_ = normal({{4, 6}, {}, 0});
  Tensor weight_ = normal({{10, 6}, {}, 0}), back_ = normal({{6, 10}, {}, 0});
  Tensor out_ = empty({{4, 10}, {}, 0}), same_ = empty({{4, 6}, {}, 0});
  Owned x = Owned(x_), weight = Owned(weight_), back = Owned(back_), other = Owned(other_);
  Owned out = Owned(out_), same = Owned(same_);
};
POSTLUDE_TEST_SUITE(HostileTest);

TEST_P(HostileTest, Linear) {
  using P = postlude_linear_params;
  Op<P> op{"linear", &postlude_linear, &postlude_linear_workspace_size, &postlude_linear_explain,
           {},       &out.tensor};
  postlude_linear_params_init(&op.params, sizeof op.params);
  op.params.x = &x.tensor;
  op.params.weight = &weight.tensor;
  spoil_member(op, "x", &P::x, x_);
  spoil_member(op, "weight", &P::weight, weight_);
  spoil_member(op, "bias", &P::bias, vector(10));
  spoil_member(op, "residual", &P::residual, normal({{4, 10}, {}, 0}));
  spoil_member(op, "row_scale", &P::row_scale, vector_f32(4));
  spoil_member(op, "col_scale", &P::col_scale, vector_f32(10));
  spoil_out(op, out_);
}

TEST_P(HostileTest, Qkv) {
  using P = postlude_qkv_params;
  Op<P> op{"qkv", &postlude_qkv, &postlude_qkv_workspace_size, &postlude_qkv_explain,
           {},    &out.tensor};
  postlude_qkv_params_init(&op.params, sizeof op.params);
  op.params.x = &x.tensor;
  op.params.weight = &weight.tensor;
  spoil_member(op, "x", &P::x, x_);
  spoil_member(op, "weight", &P::weight, weight_);
  spoil_member(op, "bias", &P::bias, vector(10));
  spoil_member(op, "normed_out", &P::normed_out, empty({{4, 6}, {}, 0}));
  spoil_out(op, out_);
  const Tensor gamma = vector(6);
  spoil_all("[qkv] norm.weight", gamma,
            entry(op, [](P& p, const postlude_tensor*&, const postlude_tensor* t) {
              thread_local postlude_norm norm;
              postlude_norm_init(&norm, sizeof norm);
              norm.kind = POSTLUDE_RMS_NORM;
              norm.weight = t;
              p.norm = &norm;
            }));
}

TEST_P(HostileTest, Mlp) {
  using P = postlude_mlp_params;
  Op<P> op{"mlp", &postlude_mlp, &postlude_mlp_workspace_size, &postlude_mlp_explain,
           {},    &same.tensor};
  postlude_mlp_params_init(&op.params, sizeof op.params);
  op.params.x = &x.tensor;
  op.params.weight_in = &weight.tensor;
  op.params.weight_out = &back.tensor;
  spoil_member(op, "x", &P::x, x_);
  spoil_member(op, "weight_in", &P::weight_in, weight_);
  spoil_member(op, "weight_out", &P::weight_out, back_);
  spoil_member(op, "bias_in", &P::bias_in, vector(10));
  spoil_member(op, "bias_out", &P::bias_out, vector(6));
  spoil_member(op, "residual", &P::residual, other_);
  spoil_member(op, "input_bias", &P::input_bias, vector(6));
  spoil_member(op, "parallel_residual", &P::parallel_residual, other_);
  spoil_member(op, "residual_out", &P::residual_out, empty({{4, 6}, {}, 0}));
  spoil_member(op, "normed_out", &P::normed_out, empty({{4, 6}, {}, 0}));
  spoil_out(op, same_);
}

TEST_P(HostileTest, Normalize) {
  using P = postlude_norm_params;
  Op<P> op{
      "norm", &postlude_normalize, &postlude_normalize_workspace_size, &postlude_normalize_explain,
      {},     &same.tensor};
  postlude_norm_params_init(&op.params, sizeof op.params);
  op.params.x = &x.tensor;
  spoil_member(op, "x", &P::x, x_);
  spoil_member(op, "residual", &P::residual, other_);
  spoil_member(op, "bias", &P::bias, vector(6));
  spoil_member(op, "add_after", &P::add_after, other_);
  spoil_member(op, "residual_out", &P::residual_out, empty({{4, 6}, {}, 0}));
  spoil_out(op, same_);
}

TEST_P(HostileTest, ResidualAdd) {
  using P = postlude_residual_add_params;
  Op<P> op{"residual_add",
           &postlude_residual_add,
           &postlude_residual_add_workspace_size,
           &postlude_residual_add_explain,
           {},
           &same.tensor};
  postlude_residual_add_params_init(&op.params, sizeof op.params);
  op.params.hidden_state = &x.tensor;
  op.params.residual = &other.tensor;
  spoil_member(op, "residual", &P::residual, other_);
  spoil_member(op, "attention_output", &P::attention_output, other_);
  spoil_member(op, "attention_bias", &P::attention_bias, vector(6));
  spoil_member(op, "final_bias", &P::final_bias, vector(6));
  spoil_out(op, same_);
}

TEST_P(HostileTest, Weights) {
  postlude_weight* made = nullptr;
  spoil_all("[pack_weight] weight", weight_, [&](const postlude_tensor* t) {
    return postlude_pack_weight(t, nullptr, context_, &made);
  });
  spoil_all("[quantize_weight] weight", weight_, [&](const postlude_tensor* t) {
    return postlude_quantize_weight(t, nullptr, context_, &made);
  });
  EXPECT_EQ(made, nullptr);
  ASSERT_EQ(postlude_pack_weight(&weight.tensor, nullptr, context_, &made), POSTLUDE_OK);
  const Tensor target = empty({{10, 6}, {}, 0});
  spoil_all("[Weight.unpack] out", target,
            [&](const postlude_tensor* t) { return postlude_weight_unpack(made, t, context_); });
  postlude_weight_destroy(made);
}

// Rows that a hostile caller says are many, over memory that is not: sizing must not wrap around.
TEST_P(HostileTest, SizesThatMultiply) {
  const std::int64_t many = std::int64_t{1} << 40;
  const TensorView tall(nullptr, dtype(), {many, 1}, {0, 1}, device());
  const TensorView in(nullptr, dtype(), {many, 1}, device());
  const TensorView down(nullptr, dtype(), {1, many}, device());
  const Owned x_tall(tall), w_in(in), w_out(down), target(in);
  postlude_mlp_params params;
  postlude_mlp_params_init(&params, sizeof params);
  params.x = &x_tall.tensor;
  params.weight_in = &w_in.tensor;
  params.weight_out = &w_out.tensor;
  std::size_t bytes = 0;
  EXPECT_EQ(postlude_mlp_workspace_size(&params, &target.tensor, context_, &bytes),
            POSTLUDE_UNSUPPORTED)
      << bytes << " " << postlude_last_error();
}

// Forms that are unusual and right.
TEST_P(HostileTest, CompactStridesOffsetsAndAnyStrideOfOneRow) {
  postlude_linear_params params;
  postlude_linear_params_init(&params, sizeof params);
  Owned compact(x_), later(x_), row(TensorView(x_.view().data(), dtype(), {1, 6}, device()));
  compact.tensor.strides = nullptr;
  later.tensor.data = static_cast<char*>(x_.view().data()) - 64;
  later.tensor.byte_offset = 64;
  row.strides[0] = smallest;
  params.weight = &weight.tensor;
  Tensor first = empty({{1, 10}, {}, 0});
  const Owned one(first);
  for (const Owned* x_form : {&compact, &later}) {
    params.x = &x_form->tensor;
    ASSERT_EQ(postlude_linear(&params, &out.tensor, context_), POSTLUDE_OK)
        << postlude_last_error();
    synchronize(device());
    EXPECT_TRUE(close(out_, reference::linear(x_.matrix(), weight_.matrix(), {})));
  }
  params.x = &row.tensor;
  ASSERT_EQ(postlude_linear(&params, &one.tensor, context_), POSTLUDE_OK) << postlude_last_error();
  synchronize(device());
  const std::vector<double> values = x_.get();
  const reference::Matrix x_row(1, 6, {values.begin(), values.begin() + 6});
  EXPECT_TRUE(close(first, reference::linear(x_row, weight_.matrix(), {})));
}

}  // namespace
}  // namespace test
}  // namespace postlude
