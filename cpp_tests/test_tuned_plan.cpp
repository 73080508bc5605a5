// What a tune file does to a plan, and what plans for a GPU refuse, on a backend of this file's
// own: plans need no GPU.
#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hpp"
#include "plan.hpp"
#include "postlude/error.hpp"
#include "support/tuning.hpp"

namespace postlude {
namespace test {
namespace {

using detail::ContextState;
using detail::Gemm;

constexpr Device gpu{DeviceType::cuda, 0};

// Runs all, and has no choice.
class PlainKernel : public detail::GemmKernel {
 public:
  const char* name() const override { return "test.plain"; }
  const char* can_run(const Gemm&, const ContextState&) const override { return nullptr; }
  std::size_t workspace(const Gemm&, const ContextState&) const override { return 0; }
  std::string describe(const Gemm&, const ContextState&) const override { return "as it is"; }
  void launch(const Gemm&, void*, ContextState&) const override {}
};

// Two tiles, of which the large one needs 16 columns; refuses rows at odd strides.
class TiledKernel final : public PlainKernel {
 public:
  const char* name() const override { return "test.tiled"; }
  const char* can_run(const Gemm& g, const ContextState&) const override {
    return g.x.stride % 2 == 0 ? nullptr : "rows at odd strides";
  }
  std::vector<std::string> tiles(const Gemm& g, const ContextState& c) const override {
    std::vector<std::string> names = {"small"};
    if (can_take(1, g, c) == nullptr) names.push_back("large");
    return names;
  }
  int tile_number(const std::string& name) const override {
    return name == "small" ? 0 : name == "large" ? 1 : -1;
  }
  const char* can_take(int tile, const Gemm& g, const ContextState&) const override {
    return tile == 0 || g.n >= 16 ? nullptr : "fewer than 16 columns";
  }
  std::string describe(const Gemm& g, const ContextState&) const override {
    return g.tile < 0 ? "of its own choice" : g.tile == 0 ? "small" : "large";
  }
};

class TestBackend final : public detail::Backend {
 public:
  TestBackend() : kernels_{&plain_, &tiled_} {}
  std::unique_ptr<detail::BackendState> make_state(Device) const override { return nullptr; }
  const std::vector<const detail::GemmKernel*>& gemm_kernels() const override { return kernels_; }
  std::size_t norm_workspace(const detail::NormCall&, const ContextState&) const override {
    return 0;
  }
  void norm(const detail::NormCall&, void*, ContextState&) const override {}
  void residual_add(const detail::ResidualCall&, ContextState&) const override {}
  void copy_rows(const detail::Rows&, const detail::Rows&, std::int64_t, std::int64_t,
                 ContextState&) const override {}
  std::shared_ptr<const detail::WeightState> pack(const TensorView&, const PackOptions&,
                                                  ContextState&) const override {
    return nullptr;
  }
  void unpack(const detail::WeightState&, const TensorView&, ContextState&) const override {}
  void copy_matrix(const TensorView&, const TensorView&, ContextState&) const override {}
  void quantize(const TensorView&, const QuantizeOptions&, const TensorView&, const TensorView&,
                ContextState&) const override {}
  std::shared_ptr<void> allocate(std::size_t, Device) const override { return nullptr; }
  void synchronize(ContextState&) const override {}
  void synchronize(Device) const override {}
  detail::TuneDevice tune_device(const ContextState&) const override {
    return {"A GPU (of tests)", "sm_90", 132};
  }
  std::string config() const override { return ""; }
  // Keeps the kernel alone that refuses something.
  void drop_plain() { kernels_ = {&tiled_}; }

 private:
  PlainKernel plain_;
  TiledKernel tiled_;
  std::vector<const detail::GemmKernel*> kernels_;
};

class TunedPlan : public ::testing::Test {
 protected:
  TunedPlan() {
    state_.backend = &backend_;
    state_.device = gpu;
  }
  void tune(const std::string& text) {
    state_.tuning = detail::tuning_of(TuneTable::parse(text, "a.tune"), state_);
  }
  std::string error_of(const std::string& text) {
    try {
      tune(text);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "no error";
  }
  static TensorView view(std::int64_t rows, std::int64_t columns, DType dtype = DType::bf16,
                         std::int64_t pitch = 0) {
    return nowhere(gpu, dtype, {rows, columns}, pitch);
  }
  static LinearParams linear(std::int64_t m, std::int64_t pitch = 128) {
    LinearParams p;
    p.x = view(m, 128, DType::bf16, pitch);
    p.weight = view(64, 128);
    return p;
  }
  std::string text_of(const LinearParams& p, DType out = DType::bf16) {
    const TensorView y = view(p.x.size(0), p.epilogue.gated ? 32 : 64, out);
    const detail::RowMap rows = detail::check(p, y, state_);
    return detail::describe(detail::make_plan(p, y, {rows, 0, 0, state_}), state_);
  }

  TestBackend backend_;
  ContextState state_;
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_F(TunedPlan, ExplainNamesTheEntry) {
  EXPECT_TRUE(contains(text_of(linear(16)), "kernel test.plain as it is"));
  tune(joined(tune_lines()));
  const std::string text = text_of(linear(16));
  EXPECT_TRUE(contains(text, "kernel test.tiled large\n")) << text;
  EXPECT_TRUE(contains(text, "tuned by a.tune, line 8: 41.2 us instead of 43\n")) << text;
  EXPECT_TRUE(contains(text, "refused test.plain: the tune file has another")) << text;
  EXPECT_TRUE(contains(text, "tune file a.tune, 2 entries")) << text;
  state_.tuning = detail::tuning_of(TuneTable(), state_);
  EXPECT_FALSE(contains(text_of(linear(16)), "tune")) << text;
}

TEST_F(TunedPlan, OtherProblemsKeepTheShippedChoice) {
  tune(joined(tune_lines()));
  std::vector<LinearParams> others = {linear(15), linear(17)};
  for (int i = 0; i < 4; ++i) others.push_back(linear(16));
  others[2].epilogue.activation = Activation::relu;
  others[3].epilogue.gated = true;
  others[4].epilogue.residual = view(16, 64);
  others[5].epilogue.row_scale = nowhere(gpu, DType::f32, {16});
  for (std::size_t i = 0; i < others.size(); ++i) {
    const std::string text = text_of(others[i]);
    EXPECT_TRUE(contains(text, "kernel test.plain")) << i << text;
    EXPECT_FALSE(contains(text, "tuned")) << i << text;
  }
  LinearParams f32_out = linear(16);
  f32_out.epilogue.out_dtype = DType::f32;
  EXPECT_TRUE(contains(text_of(f32_out, DType::f32), "kernel test.plain"));
  state_.batch_invariant = true;
  EXPECT_TRUE(contains(text_of(linear(16)), "kernel test.plain"));
}

TEST_F(TunedPlan, ExplainSaysWhyAnEntryDoesNotHold) {
  tune(joined(tune_lines()));
  const std::string text = text_of(linear(16, 129));
  EXPECT_TRUE(contains(text, "kernel test.plain")) << text;
  EXPECT_TRUE(contains(text, "not tuned, though a.tune, line 8 has it: rows at odd strides"))
      << text;
}

TEST_F(TunedPlan, EveryKindOfProductHasItsEntry) {
  const Activation none = Activation::none, silu = Activation::silu;
  const struct {
    const char* name;
    Activation activation;
    bool gated, residual, scaled;
  } kinds[] = {{"plain", none, false, false, false},
               {"activation", silu, false, false, false},
               {"gated", silu, true, false, false},
               {"residual", none, false, true, false},
               {"scaled", none, false, false, true}};
  for (const auto& kind : kinds) {
    tune(tune_text_with(8, std::string("dtype=bf16 m=16 n=") + (kind.gated ? "32" : "64") +
                               " k=128 epilogue=" + kind.name +
                               " kernel=test.tiled tile=small us=1 shipped_us=2"));
    LinearParams p = linear(16);
    p.epilogue.activation = kind.activation;
    p.epilogue.gated = kind.gated;
    if (kind.residual) p.epilogue.residual = view(16, 64);
    if (kind.scaled) p.epilogue.row_scale = nowhere(gpu, DType::f32, {16});
    EXPECT_TRUE(contains(text_of(p), "kernel test.tiled small")) << kind.name << text_of(p);
  }
}

TEST_F(TunedPlan, FilesForOthersAreRefused) {
  const struct {
    std::size_t line;
    const char* text;
    const char* says;
  } cases[] = {
      {2, "version 0.0.9", "a.tune, line 2: expected a file of this version"},
      {3, "gpu Another", "a.tune, lines 3 to 5: expected a file of this GPU, A GPU (of tests)"},
      {4, "arch sm_80", "got A GPU (of tests) (sm_80, 132 multiprocessors)"},
      {5, "multiprocessors 78", "got A GPU (of tests) (sm_90, 78 multiprocessors)"},
      {8, "dtype=f16 m=2 n=9 k=32 epilogue=plain kernel=test.none tile=large us=1 shipped_us=2",
       "a.tune, line 8: expected a kernel of this build, got 'test.none'"},
      {8, "dtype=f16 m=2 n=9 k=32 epilogue=plain kernel=test.tiled tile=huge us=1 shipped_us=2",
       "a.tune, line 8: expected a tile that test.tiled has in this build, got 'huge'"},
      {8, "dtype=f16 m=2 n=9 k=32 epilogue=plain kernel=test.plain tile=huge us=1 shipped_us=2",
       "a.tune, line 8: expected a tile that test.plain has in this build, got 'huge'"},
      {8, "dtype=f16 m=2 n=9 k=32 epilogue=plain kernel=test.tiled tile=large us=1 shipped_us=2",
       "'large' of test.tiled: fewer than 16 columns"},
      {8, "dtype=f16 m=2 n=64 k=33 epilogue=plain kernel=test.tiled tile=large us=1 shipped_us=2",
       "'large' of test.tiled: rows at odd strides"},
  };
  for (const auto& one : cases) {
    const std::string said = error_of(tune_text_with(one.line, one.text));
    EXPECT_TRUE(contains(said, one.says)) << said << "\nnot: " << one.says;
    EXPECT_EQ(state_.tuning, nullptr) << "and nothing is kept";
  }
}

TEST_F(TunedPlan, WhereNoKernelRunsItSaysWhyOfEach) {
  backend_.drop_plain();
  EXPECT_TRUE(contains(text_of(linear(16)), "kernel test.tiled"));
  try {
    text_of(linear(16, 129));
    FAIL() << "a kernel ran it";
  } catch (const Unsupported& error) {
    const std::string said = error.what();
    EXPECT_EQ(said.find("[linear] no kernel on cuda:0 runs gemm m=16 n=64 k=128"), 0u) << said;
    EXPECT_TRUE(contains(said, "\n  test.tiled: rows at odd strides")) << said;
  }
}

TEST_F(TunedPlan, AWeightOfAnotherDeviceIsRefused) {
  const auto weight = std::make_shared<detail::WeightState>();
  weight->n = 64;
  weight->k = 128;
  weight->operand.dtype = DType::bf16;
  weight->device = {DeviceType::cuda, 1};
  LinearParams p = linear(16);
  p.weight = Weight(weight);
  try {
    text_of(p);
    FAIL() << "it was taken";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(), "[linear] weight: expected a Weight on cuda:0, got one on cuda:1");
  }
  weight->device = gpu;
  EXPECT_TRUE(contains(text_of(p), "kernel test.plain"));
}

}  // namespace
}  // namespace test
}  // namespace postlude
