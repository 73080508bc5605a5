// Contexts: workspace to the byte, what they hold, and many of them in many threads.
#if POSTLUDE_WITH_CUDA
#include <cuda_runtime_api.h>
#endif
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/compare.hpp"
#include "support/linear_case.hpp"
#include "support/mlp_case.hpp"
#include "support/setting.hpp"

namespace postlude {
namespace test {
namespace {

using WorkspaceTest = SettingTest;
POSTLUDE_TEST_SUITE(WorkspaceTest);

// Calls with exactly the workspace asked for, surrounded by canaries, then with one byte less.
template <class Params>
void check_workspace(const Params& params, const Tensor& out, const Setting& setting) {
  Context context(setting.device);
  const std::size_t bytes = api::workspace_size(params, out, context);
  EXPECT_EQ(api::workspace_size(params, out, context), bytes) << "asked again";
  constexpr std::size_t margin = 4096;
  std::vector<std::uint8_t> pattern(bytes + 2 * margin);
  for (std::size_t i = 0; i < pattern.size(); ++i)
    pattern[i] = static_cast<std::uint8_t>(i * 7 + 1);
  const std::shared_ptr<void> memory = allocate(setting.device, pattern.size());
  copy_to_device(setting.device, memory.get(), pattern.data(), pattern.size());
  char* workspace = static_cast<char*>(memory.get()) + margin;
  context.set_workspace(workspace, bytes);
  EXPECT_EQ(context.workspace_bytes(), bytes);
  ASSERT_NO_THROW(api::call(params, out, context)) << "with the " << bytes << " bytes asked for";
  synchronize(setting.device);
  std::vector<std::uint8_t> after(pattern.size());
  copy_to_host(setting.device, after.data(), memory.get(), after.size());
  EXPECT_TRUE(std::equal(after.begin(), after.begin() + margin, pattern.begin()))
      << "before the workspace";
  EXPECT_TRUE(std::equal(after.end() - margin, after.end(), pattern.end() - margin))
      << "after the workspace";
  if (bytes == 0) return;
  context.set_workspace(workspace, bytes - 1);
  try {
    api::call(params, out, context);
    ADD_FAILURE() << "one byte less than " << bytes << " was accepted";
  } catch (const std::invalid_argument& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("workspace"), std::string::npos) << text;
    EXPECT_NE(text.find(std::to_string(bytes)), std::string::npos) << text;
    EXPECT_NE(text.find(std::to_string(bytes - 1)), std::string::npos) << text;
  }
}

TEST_P(WorkspaceTest, LinearIsExact) {
  Context packing(device());
  for (const GemmShape& shape : cases::tails) {
    for (WeightForm form : {WeightForm::plain, WeightForm::packed, WeightForm::int8_rows}) {
      for (bool gated : {false, true}) {
        LinearCase c;
        c.shape = shape;
        c.weight = form;
        c.gated = gated;
        c.activation = Activation::silu;
        c.residual = true;
        SCOPED_TRACE(describe(c, GetParam()));
        const LinearTensors t(c, GetParam(), packing);
        check_workspace(t.params(), t.out, GetParam());
        EXPECT_TRUE(close(t.out, t.expected()));
      }
    }
  }
}

TEST_P(WorkspaceTest, MlpIsExact) {
  Context packing(device());
  for (const MlpShape& shape : cases::mlps) {
    for (bool packed : {false, true}) {
      for (bool outputs : {false, true}) {
        MlpCase c;
        c.shape = shape;
        c.norm = NormKind::layer;
        c.packed = packed;
        c.gated = true;
        c.residual = true;
        c.residual_out = c.normed_out = outputs;
        SCOPED_TRACE(describe(c, GetParam()));
        MlpTensors t(c, GetParam(), packing);
        const MlpExpected expected = t.expected();
        check_workspace(t.params(), t.out, GetParam());
        check_outputs(t, expected);
        if (!outputs) continue;
        const Tensor x = t.x;  // in place: what is read later must survive
        t.out = x;
        check_workspace(t.params(), t.out, GetParam());
      }
    }
  }
}

TEST_P(WorkspaceTest, QkvNormAndResidualAddAreExact) {
  const Tensor x = normal({{65, 127}, {}, 0}), weight = normal({{300, 127}, {}, 0}, 0.1);
  const Tensor out = empty({{65, 300}, {}, 0}), same = empty({{65, 127}, {}, 0});
  QkvParams q;
  q.x = x;
  q.weight = weight.view();
  q.norm = Norm::layer({}, {}, 1e-5f);
  check_workspace(q, out, GetParam());
  NormParams n;
  n.x = x;
  n.norm = q.norm;
  n.residual = x;
  check_workspace(n, same, GetParam());
  ResidualAddParams r;
  r.hidden_state = x;
  r.residual = x;
  check_workspace(r, same, GetParam());
}

TEST_P(WorkspaceTest, DependsOnShapesNotOnValuesOrCalls) {
  LinearCase c;
  c.shape = {33, 127, 300};
  Context context(device());
  const LinearTensors t(c, GetParam(), context);
  const std::size_t before = api::workspace_size(t.params(), t.out, context);
  run(t.params(), t.out, context);
  EXPECT_EQ(api::workspace_size(t.params(), t.out, context), before);
  const Context other(device());
  EXPECT_EQ(api::workspace_size(t.params(), t.out, other), before);
}

TEST_P(WorkspaceTest, ReserveHoldsAndReleases) {
  Context context(device());
  EXPECT_EQ(context.workspace_bytes(), 0u);
  context.reserve(1000);
  EXPECT_GE(context.workspace_bytes(), 1000u);
  const std::size_t held = context.workspace_bytes();
  context.reserve(10);
  EXPECT_EQ(context.workspace_bytes(), held) << "reserve never shrinks";
  context.release();
  EXPECT_EQ(context.workspace_bytes(), 0u);
}

TEST_P(WorkspaceTest, AMisalignedWorkspaceIsRefused) {
  Context context(device());
  const std::shared_ptr<void> memory = allocate(device(), 8192);
  EXPECT_THROW(context.set_workspace(static_cast<char*>(memory.get()) + 1, 4096),
               std::invalid_argument);
}

TEST_P(WorkspaceTest, AMovedContextKeepsWhatItHeld) {
  LinearCase c;
  c.shape = {7, 33, 65};
  Context first(device());
  LinearTensors t(c, GetParam(), first), u(c, GetParam(), first);
  first.set_batch_invariant(true);
  first.set_weights_static(false);
  run(t.params(), t.out, first);
  Context second = std::move(first);
  EXPECT_TRUE(second.batch_invariant());
  EXPECT_FALSE(second.weights_static());
  EXPECT_EQ(second.device(), device());
  api::call(u.params(), u.out, second);
  synchronize(device());
  EXPECT_TRUE(same_bits(t.out, u.out));
}

TEST_P(WorkspaceTest, StaticWeightsAreAPromiseThatChangesNoResult) {
  MlpCase c;
  c.shape = {7, 65, 127, 65};
  c.norm = NormKind::rms;
  c.gated = true;
  for (bool packed : {false, true}) {
    c.packed = packed;
    Context context(device());
    EXPECT_TRUE(context.weights_static()) << "the default";
    const MlpTensors t(c, GetParam(), context), u(c, GetParam(), context);
    run(t.params(), t.out, context);
    EXPECT_EQ(api::explain(t.params(), t.out, context).find("weights_static"), std::string::npos);
    const std::size_t bytes = api::workspace_size(t.params(), t.out, context);
    context.set_weights_static(false);
    EXPECT_FALSE(context.weights_static());
    EXPECT_NE(api::explain(u.params(), u.out, context).find("weights_static=false"),
              std::string::npos);
    EXPECT_EQ(api::workspace_size(u.params(), u.out, context), bytes);
    run(u.params(), u.out, context);
    EXPECT_TRUE(same_bits(t.out, u.out));
  }
}

using ThreadTest = SettingTest;
POSTLUDE_TEST_SUITE(ThreadTest);

TEST_P(ThreadTest, EightThreadsGiveTheBitsOfOne) {
  constexpr std::size_t threads = 8;
  Context context(device());
  // Every thread has its own shape, so that cached primitives of one would show in another; weights
  // are shared.
  const Tensor weight = normal({{96, 64}, {}, 0}, 0.1), weight_out = normal({{64, 96}, {}, 0}, 0.1);
  const Weight packed = api::pack_weight(weight, {}, context),
               packed_out = api::pack_weight(weight_out, {}, context);
  struct Job {
    Tensor x, serial, parallel;
    MlpParams params;
  };
  std::vector<Job> jobs(threads);
  for (std::size_t i = 0; i < threads; ++i) {
    const std::int64_t m = static_cast<std::int64_t>(i % 4) * 16 + 1;
    Job& job = jobs[i];
    job.x = normal({{m, 64}, {}, 0});
    job.serial = empty({{m, 64}, {}, 0});
    job.parallel = empty({{m, 64}, {}, 0});
    job.params.x = job.x;
    job.params.weight_in = i % 2 == 0 ? WeightRef(packed) : WeightRef(weight.view());
    job.params.weight_out = i % 2 == 0 ? WeightRef(packed_out) : WeightRef(weight_out.view());
    job.params.activation = Activation::gelu_erf;
    job.params.norm = Norm::layer({}, {}, 1e-5f);
    run(job.params, job.serial, context);
  }
  std::vector<std::string> errors(threads);
  std::vector<std::thread> pool;
  for (std::size_t i = 0; i < threads; ++i) {
    pool.emplace_back([&, i] {
      try {
        for (int repeat = 0; repeat < 5; ++repeat) {
          Context own(device());
          run(jobs[i].params, jobs[i].parallel, own);
        }
      } catch (const std::exception& error) {
        errors[i] = error.what();
      }
    });
  }
  for (std::thread& thread : pool) thread.join();
  for (std::size_t i = 0; i < threads; ++i) {
    EXPECT_EQ(errors[i], "");
    EXPECT_TRUE(same_bits(jobs[i].serial, jobs[i].parallel)) << "thread " << i;
  }
}

// The team size that OpenMP would use, set back at the end.
class OpenMpThreads {
 public:
  explicit OpenMpThreads(int count) : saved_(omp_get_max_threads()) { omp_set_num_threads(count); }
  ~OpenMpThreads() { omp_set_num_threads(saved_); }
  OpenMpThreads(const OpenMpThreads&) = delete;
  OpenMpThreads& operator=(const OpenMpThreads&) = delete;

 private:
  int saved_;
};

TEST_P(ThreadTest, AnyNumberOfOpenMpThreads) {
  MlpCase c;
  c.shape = {130, 96, 300, 96};
  c.norm = NormKind::layer;
  for (bool packed : {false, true}) {
    c.packed = packed;
    Context packing(device());
    MlpTensors t(c, GetParam(), packing);
    const MlpExpected expected = t.expected();
    for (int count : {1, 2, 5}) {
      SCOPED_TRACE(::testing::Message() << count << " threads");
      const OpenMpThreads threads(count);
      check_workspace(t.params(), t.out, GetParam());
      check_outputs(t, expected);
      EXPECT_EQ(omp_get_max_threads(), count) << "a call must leave the caller's setting as it was";
    }
  }
}

TEST_P(ThreadTest, InsideAParallelRegion) {
  constexpr int count = 3;
  MlpCase c;
  c.shape = {65, 96, 300, 96};
  c.norm = NormKind::rms;
  Context packing(device());
  std::vector<MlpTensors> tensors;
  for (int i = 0; i < count; ++i) tensors.emplace_back(c, GetParam(), packing);
  std::vector<std::string> errors(count);
#pragma omp parallel for num_threads(count) schedule(static, 1)
  for (int i = 0; i < count; ++i) {
    const std::size_t index = static_cast<std::size_t>(i);
    try {
      run(tensors[index].params(), tensors[index].out);
    } catch (const std::exception& error) {
      errors[index] = error.what();
    }
  }
  for (const std::string& error : errors) EXPECT_EQ(error, "");
  const MlpExpected expected = tensors[0].expected();
  for (const MlpTensors& t : tensors) check_outputs(t, expected);
}

TEST(Device, AGpuIsPresentWhereOneIsRequired) {
  if (!gpu_required()) GTEST_SKIP() << "POSTLUDE_REQUIRE_GPU is not 1";
  EXPECT_GT(devices().size(), 1u)
      << "POSTLUDE_REQUIRE_GPU=1, but this build or this machine has no CUDA";
}

#if POSTLUDE_WITH_CUDA
// A stream's owner may end it before whoever keeps Contexts lets go of theirs.
TEST(Device, AContextOutlivesItsStream) {
  if (devices().size() < 2) GTEST_SKIP() << "no GPU";
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  Context context(Device{DeviceType::cuda, 0}, StreamRef(stream));
  context.reserve(1 << 20);
  ASSERT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  context.release();
  EXPECT_EQ(context.workspace_bytes(), 0u);
}

TEST(Device, MemoryThatAGpuLacksIsAnErrorWithItsSize) {
  if (devices().size() < 2) GTEST_SKIP() << "no GPU";
  Context context(Device{DeviceType::cuda, 0});
  try {
    context.reserve(std::size_t{1} << 50);
    ADD_FAILURE() << "a GPU of a petabyte";
  } catch (const CudaError& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.rfind("cudaMalloc of 11258999068426", 0), 0u) << text;
    EXPECT_NE(text.find(" bytes failed: out of memory (cudaErrorMemoryAllocation)"),
              std::string::npos)
        << text;
  }
  context.reserve(1 << 20);  // what failed is not reported again
  EXPECT_GE(context.workspace_bytes(), std::size_t{1} << 20);
}
#endif

TEST(Device, AMissingBackendIsRefused) {
  if (devices().size() > 1) GTEST_SKIP() << "there is a GPU";
#if POSTLUDE_WITH_CUDA
  EXPECT_THROW(Context(Device{DeviceType::cuda, 0}), CudaError);
#else
  try {
    Context context(Device{DeviceType::cuda, 0});
    ADD_FAILURE() << "a GPU in a build without CUDA";
  } catch (const Unsupported& error) {
    EXPECT_NE(std::string(error.what()).find("CUDA"), std::string::npos) << error.what();
  }
#endif
}

}  // namespace
}  // namespace test
}  // namespace postlude
