// Every tile of the Hopper GEMM with every split of k, whatever the model would choose: exact
// results, nothing written outside, with and without programmatic launches.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "backend.hpp"
#include "cuda/gemm/sm90_tiles.hpp"
#include "support/device.hpp"
#include "support/gemm_case.hpp"
#include "support/number.hpp"
#include "support/setting.hpp"
#include "tuning.hpp"

namespace postlude {
namespace test {
namespace {

namespace gpu = detail::cuda;
using Choices = std::vector<gpu::Sm90Choice>;

const Device gpu_0{DeviceType::cuda, 0};
constexpr DType both_dtypes[] = {DType::bf16, DType::f16};

EpilogueCase epilogue(const char* name, Spacing spacing = Spacing::wide) {
  EpilogueCase e;
  e.name = name;
  e.spacing = spacing;
  return e;
}

EpilogueCase gated(const char* name, Activation activation, GateLayout layout) {
  EpilogueCase e = epilogue(name);
  e.gated = true;
  e.activation = activation;
  e.layout = layout;
  return e;
}

// One for each of the epilogue's loops, on all but the barest of memory.
std::vector<EpilogueCase> few_epilogues() {
  std::vector<EpilogueCase> all;
  EpilogueCase e = epilogue("bias and relu");
  e.bias = true;
  e.activation = Activation::relu;
  e.alpha = 0.5f;
  all.push_back(e);

  e = gated("gated, relu", Activation::relu, GateLayout::gate_up);
  e.bias = true;
  all.push_back(e);

  e = epilogue("residual in place");
  e.bias = true;
  e.adds = Adds::out;
  all.push_back(e);

  e = epilogue("scaled with mean");
  e.row_scale = e.mean = e.shift = e.bias = true;
  all.push_back(e);

  e = epilogue("out in f32 at odd rows", Spacing::odd);
  e.out_f32 = e.bias = e.bias_f32 = true;
  e.adds = Adds::residual;
  all.push_back(e);
  return all;
}

std::vector<EpilogueCase> all_epilogues() {
  std::vector<EpilogueCase> all = few_epilogues();
  all.push_back(epilogue("bare", Spacing::tight));

  EpilogueCase e = gated("gated, silu", Activation::silu, GateLayout::gate_up);
  e.alpha = 2.0f;
  all.push_back(e);

  e = gated("gated, up first, silu", Activation::silu, GateLayout::up_gate);
  e.bias = e.bias_f32 = true;
  all.push_back(e);

  e = gated("gated, up first, tight", Activation::relu, GateLayout::up_gate);
  e.bias = true;
  e.spacing = Spacing::tight;
  all.push_back(e);

  e = epilogue("residual");
  e.bias = e.bias_f32 = true;
  e.adds = Adds::residual;
  e.alpha = 0.5f;
  all.push_back(e);

  e = epilogue("residual in place, tight", Spacing::tight);
  e.adds = Adds::out;
  all.push_back(e);

  e = epilogue("scaled", Spacing::tight);
  e.row_scale = e.bias = true;
  e.alpha = 2.0f;
  all.push_back(e);

  e = gated("general: clamp and residual", Activation::relu, GateLayout::up_gate);
  e.spacing = Spacing::odd;
  e.clamp = 2.5f;
  e.bias = e.shift = true;
  e.adds = Adds::residual;
  all.push_back(e);

  e = epilogue("general: all scales, relu2, in place");
  e.row_scale = e.col_scale = e.mean = e.bias = true;
  e.activation = Activation::relu2;
  e.adds = Adds::out;
  all.push_back(e);

  e = gated("general: gated, single scales, f32", Activation::relu, GateLayout::gate_up);
  e.row_scale = e.col_scale = e.one_scale = e.shift = true;
  e.out_f32 = true;
  all.push_back(e);
  return all;
}

class Sm90Tiles : public ::testing::Test {
 protected:
  void SetUp() override {
    if (devices().size() < 2) {
      if (gpu_required()) FAIL() << "POSTLUDE_REQUIRE_GPU is set, and there is no GPU";
      GTEST_SKIP() << "no GPU";
    }
    // What a Context keeps of its device, every kernel loaded.
    context_.backend_state = detail::cuda_backend()->make_state(gpu_0);
    context_.device = gpu_0;
    state_ = static_cast<gpu::DeviceState*>(context_.backend_state.get());
    if (state_->sm != 90) GTEST_SKIP() << "not a Hopper GPU";
    gpu::check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
    context_.stream = StreamRef(stream_);
  }
  void TearDown() override {
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }

  void programmatic(bool on) { state_->programmatic = on; }
  Choices choices(const detail::Gemm& gemm) const { return gpu::sm90_choices(gemm, *state_); }
  void launch(const detail::Gemm& gemm, const gpu::Sm90Choice& choice) {
    gpu::sm90_launch(gemm, choice, context_);
  }

  // Waits for the stream. A kernel that never ends is named, as nothing can be told after it.
  void wait(const std::string& what) {
    const auto start = std::chrono::steady_clock::now();
    while (cudaStreamQuery(stream_) == cudaErrorNotReady) {
      if (std::chrono::steady_clock::now() - start > std::chrono::seconds(60)) {
        std::fprintf(stderr, "never ends: %s\n", what.c_str());
        std::abort();
      }
    }
    gpu::check(cudaStreamSynchronize(stream_), what.c_str());
  }

  std::string describe(const gpu::Sm90Choice& choice) const {
    return gpu::to_string(choice) + (state_->programmatic ? ", programmatic" : "");
  }

  // Runs the case with every choice. False after a few failures: there is nothing more to learn.
  bool run_all(GemmCase& c, const std::string& name) {
    const Choices all = choices(c.gemm());
    EXPECT_FALSE(all.empty()) << name;
    for (const gpu::Sm90Choice& choice : all) {
      const std::string what = describe(choice) + ": " + name;
      c.reset();
      launch(c.gemm(), choice);
      wait(what);
      const std::string difference = c.difference();
      ++runs_;
      if (difference.empty()) continue;
      ADD_FAILURE() << what << "\n  " << difference;
      if (++failures_ >= 10) return false;
    }
    return true;
  }

  bool check(const Product& product, const EpilogueCase& e, DType dtype) {
    const auto [m, n, k] = product.shape;
    const std::string name = std::string(e.name) + ", " + to_string(dtype) + ", M " +
                             std::to_string(m) + " N " + std::to_string(n) + " K " +
                             std::to_string(k);
    GemmCase c(gpu_0, product, e, dtype);
    for (const bool on : {false, true}) {
      programmatic(on);
      if (!run_all(c, name)) return false;
    }
    return true;
  }

  // Every epilogue on every shape, each with every choice.
  void check(const std::vector<GemmShape>& shapes, const std::vector<EpilogueCase>& epilogues,
             const std::vector<DType>& dtypes = {DType::bf16, DType::f16}) {
    for (const GemmShape& shape : shapes) {
      for (const bool is_gated : {false, true}) {
        // Halves of a gated weight have multiples of 8 rows.
        const std::int64_t n = is_gated ? (shape.n / 2 + 7) / 8 * 8 : shape.n;
        std::unique_ptr<Product> product;
        for (const EpilogueCase& e : epilogues) {
          if (e.gated != is_gated) continue;
          if (product == nullptr) {
            product = std::make_unique<Product>(GemmShape{shape.m, n, shape.k}, is_gated);
          }
          for (const DType dtype : dtypes) {
            if (!check(*product, e, dtype)) return;
          }
        }
      }
    }
    RecordProperty("runs", runs_);
  }

  cudaStream_t stream_ = nullptr;
  gpu::DeviceState* state_ = nullptr;
  detail::ContextState context_;
  int runs_ = 0;
  int failures_ = 0;
};

// Also run by compute-sanitizer, under which kernels take long.
TEST_F(Sm90Tiles, SmallProblems) {
  check({{7, 40, 72}, {33, 136, 200}}, few_epilogues(), {DType::bf16});
}

TEST_F(Sm90Tiles, EveryEpilogue) {
  check({{1, 8, 8}, {5, 7, 33}, {7, 40, 72}, {33, 136, 200}, {65, 131, 96}, {128, 256, 64}},
        all_epilogues());
}

TEST_F(Sm90Tiles, MoreThanOneTile) {
  check({{130, 520, 1032}, {257, 1600, 328}, {1000, 208, 136}, {1160, 72, 72}}, all_epilogues());
}

// Persistent blocks have several tiles each, with the ring of stages at every place in between.
TEST_F(Sm90Tiles, ManyTiles) {
  const std::vector<EpilogueCase> few = few_epilogues();
  check({{1160, 5408, 72}}, {few[1], few[2]}, {DType::bf16});
  check({{520, 9000, 456}}, {few[0]}, {DType::f16});
}

TEST_F(Sm90Tiles, EveryActivation) {
  std::vector<EpilogueCase> all;
  for (const Activation a :
       {Activation::none, Activation::relu, Activation::gelu_erf, Activation::gelu_tanh,
        Activation::quick_gelu, Activation::silu, Activation::relu2}) {
    EpilogueCase e = epilogue(to_string(a));
    e.activation = a;
    e.bias = true;
    all.push_back(e);
    all.push_back(gated(e.name, a, GateLayout::gate_up));
    all.back().bias = true;
  }
  check({{33, 136, 200}}, all);
}

// What batch_invariant rests on: where its sums round, all tiles that it may take round them alike.
TEST_F(Sm90Tiles, BatchInvariantBits) {
  constexpr std::int64_t m = 136, n = 520, k = 4096;
  Random random(11);
  for (const DType dtype : both_dtypes) {
    const auto values = [&](std::int64_t rows) {  // of many magnitudes
      const std::vector<std::int16_t> mantissas = integers(random, rows * k, 120);
      const std::vector<std::int16_t> exponents = integers(random, rows * k, 6);
      Image image(gpu_0, dtype, rows, k, k);
      for (std::int64_t i = 0; i < rows * k; ++i) {
        const auto at = static_cast<std::size_t>(i);
        image.set(i / k, i % k, std::ldexp(mantissas[at] / 128.0, exponents[at]));
      }
      return image;
    };
    Image x = values(m), weight = values(n);
    Image first(gpu_0, DType::f32, m, n, n);
    x.upload();
    weight.upload();
    detail::Gemm g = bare_gemm(x.rows(), weight.rows(), first.rows(), {m, n, k});
    g.batch_invariant = true;
    int compared = 0;
    for (const std::int64_t rows : {m, std::int64_t{1}, std::int64_t{37}}) {
      g.m = rows;
      Image out(gpu_0, DType::f32, rows, n, n);
      for (const gpu::Sm90Choice& choice : choices(g)) {
        out.upload();
        g.out = out.rows();
        launch(g, choice);
        wait(describe(choice));
        out.download();
        if (compared++ == 0) first = out;
        std::int64_t differ = 0;
        for (std::int64_t i = 0; i < rows * n; ++i) {
          differ += out.get(i / n, i % n) != first.get(i / n, i % n);
        }
        EXPECT_EQ(differ, 0) << describe(choice) << ", " << to_string(dtype) << ", M " << rows;
      }
    }
    EXPECT_GT(compared, 10);
    // And they do round: with k in parts the bits are others.
    g.m = m;
    g.batch_invariant = false;
    Image out(gpu_0, DType::f32, m, n, n);
    out.upload();
    g.out = out.rows();
    const Choices all = choices(g);
    const auto in_two =
        std::find_if(all.begin(), all.end(), [](const auto& c) { return c.split == 2; });
    ASSERT_NE(in_two, all.end());
    launch(g, *in_two);
    wait("k in two parts");
    out.download();
    EXPECT_NE(out.difference(first), "");
  }
}

// Calls that follow one another without a wait: y = x w^T, then y w^T, then x y^T, whose weight is
// not static; and again into the same y from another x.
class Chain {
 public:
  static constexpr std::int64_t m = 136, n = 520;
  static constexpr int rounds = 4;

  explicit Chain(DType dtype)
      : dtype_(dtype),
        values_(integers(random_, n * n, 1)),
        weight_(image_of(gpu_0, dtype, values_, n)),
        y_(gpu_0, dtype, m, n, n) {
    for (int i = 0; i < 2; ++i) {
      const std::vector<std::int16_t> x = integers(random_, m * n, 2);
      x_.push_back(image_of(gpu_0, dtype, x, n));
      std::vector<std::int16_t> y;
      for (const std::int32_t sum : multiply(x, values_, {m, n, n})) {
        y.push_back(static_cast<std::int16_t>(round_to(dtype, sum)));
      }
      expected_.push_back(image_of(gpu_0, dtype, multiply(y, values_, {m, n, n}), n));
      expected_.push_back(image_of(gpu_0, dtype, multiply(x, y, {m, m, n}), m));
    }
    for (int i = 0; i < rounds; ++i) {
      left_.emplace_back(gpu_0, dtype, m, n, n);
      left_.emplace_back(gpu_0, dtype, m, m, m);
    }
    weight_.upload();
    for (Image& x : x_) x.upload();
    reset();
  }

  void reset() {
    y_.upload();
    for (Image& image : left_) image.upload();
  }

  // The three calls of a round.
  std::vector<detail::Gemm> gemms(int round) const {
    const auto x = x_[static_cast<std::size_t>(round % 2)].rows();
    const auto out = [&](int i) { return left_[static_cast<std::size_t>(2 * round + i)].rows(); };
    std::vector<detail::Gemm> all = {bare_gemm(x, weight_.rows(), y_.rows(), {m, n, n}),
                                     bare_gemm(y_.rows(), weight_.rows(), out(0), {m, n, n}),
                                     bare_gemm(x, y_.rows(), out(1), {m, m, n})};
    all[2].weights_static = false;
    return all;
  }

  std::string difference() const {
    for (int i = 0; i < 2 * rounds; ++i) {
      Image left = left_[static_cast<std::size_t>(i)];
      left.download();
      const std::string text = left.difference(expected_[static_cast<std::size_t>(i % 4)]);
      if (text.empty()) continue;
      return "round " + std::to_string(i / 2) + (i % 2 == 0 ? ", y w^T " : ", x y^T ") + text;
    }
    return {};
  }

 private:
  Random random_{3};
  DType dtype_;
  std::vector<std::int16_t> values_;  // of the weight
  Image weight_, y_;
  std::vector<Image> x_;
  std::vector<Image> expected_;  // y w^T and x y^T for each x
  std::vector<Image> left_;      // the same for each round
};

TEST_F(Sm90Tiles, CallsInARow) {
  for (const DType dtype : both_dtypes) {
    Chain chain(dtype);
    const auto of_first_round = chain.gemms(0);
    std::vector<Choices> all;
    for (const detail::Gemm& gemm : of_first_round) all.push_back(choices(gemm));
    for (std::size_t first = 0; first < all[0].size(); ++first) {
      const std::string what = gpu::to_string(all[0][first]) + ", " + to_string(dtype);
      for (const bool on : {false, true}) {
        programmatic(on);
        chain.reset();
        for (int round = 0; round < Chain::rounds; ++round) {
          const auto gemms = chain.gemms(round);
          for (std::size_t i = 0; i < gemms.size(); ++i) {
            // Each choice after itself, and after others.
            const std::size_t at = first + i * static_cast<std::size_t>(round) * 5;
            launch(gemms[i], all[i][at % all[i].size()]);
          }
        }
        wait(what);
        ASSERT_EQ(chain.difference(), "") << what << (on ? ", programmatic" : "");
      }
    }
  }
}

// What tune files rest on. All of this is the host's: no GPU is needed.
TEST(Sm90TileNames, AreFoundAgain) {
  gpu::DeviceState device;
  device.sm = 90;
  device.sm_count = 132;
  for (int size = 1; size <= 8; ++size) device.clusters_at_once[size] = 132 / size;
  int named = 0;
  for (const TuneEpilogue epilogue :
       {TuneEpilogue::plain, TuneEpilogue::gated, TuneEpilogue::residual, TuneEpilogue::scaled}) {
    for (const std::int64_t m : {1, 33, 128, 1000}) {
      const detail::Gemm g = detail::gemm_of({DType::bf16, epilogue, m, 1024, 4096});
      for (const gpu::Sm90Choice& choice : gpu::sm90_choices(g, device)) {
        const std::string name = gpu::sm90_name(choice);
        const int number = gpu::sm90_number(name);
        ASSERT_GE(number, 0) << name;
        const gpu::Sm90Choice back = gpu::sm90_numbered(number, g, device);
        ASSERT_NE(back.tile, nullptr) << name;
        EXPECT_EQ(gpu::to_string(back), gpu::to_string(choice));
        ++named;
      }
    }
  }
  EXPECT_GT(named, 100);
  EXPECT_EQ(gpu::sm90_number("swap_16x64_c1_s9"), -1);
  EXPECT_EQ(gpu::sm90_number("swap_16x65_c1_s1"), -1);
  // A choice of another problem is none of this one's.
  const int of_few_rows = gpu::sm90_number("swap_8x64_c1_s1");
  ASSERT_GE(of_few_rows, 0);
  const detail::Gemm many = detail::gemm_of({DType::bf16, TuneEpilogue::plain, 9, 1024, 4096});
  EXPECT_EQ(gpu::sm90_numbered(of_few_rows, many, device).tile, nullptr);
}

}  // namespace
}  // namespace test
}  // namespace postlude
