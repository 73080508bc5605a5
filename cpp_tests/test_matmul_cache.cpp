// The cache of oneDNN primitives: bounded whatever shapes come, and right for those that come back.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "cpu/matmul_cache.hpp"

namespace postlude {
namespace test {
namespace {

constexpr std::size_t limit = detail::CpuState::least;

detail::MatmulShape shape_of(std::int64_t k) {
  detail::MatmulShape shape;
  shape.m = shape.n = 16;
  shape.k = shape.ldx = shape.w_stride_n = k;
  shape.w_stride_k = 1;
  return shape;
}

TEST(MatmulCache, KeepsTheLatestAndNoMore) {
  detail::CpuState state(limit);
  std::vector<detail::Matmul*> found;
  constexpr std::int64_t count = 3 * static_cast<std::int64_t>(limit);
  for (std::int64_t k = 1; k <= count; ++k) {
    found.push_back(state.find(shape_of(k), 1));
    EXPECT_LE(state.kept(), limit);
  }
  EXPECT_EQ(state.kept(), limit);
  for (std::int64_t k = count; k > count - static_cast<std::int64_t>(limit); --k) {
    EXPECT_EQ(state.find(shape_of(k), 1), found[static_cast<std::size_t>(k - 1)]) << "K " << k;
  }
}

TEST(MatmulCache, OneAskedForInBetweenStays) {
  detail::CpuState state(limit);
  detail::Matmul* often = state.find(shape_of(7), 1);
  for (std::int64_t k = 8; k < 8 + 3 * static_cast<std::int64_t>(limit); ++k) {
    state.find(shape_of(k), 1);
    EXPECT_EQ(state.find(shape_of(7), 1), often);
  }
}

TEST(MatmulCache, OneThatComesBackComputes) {
  detail::CpuState state(limit);
  for (std::int64_t k : {32, 64}) {
    for (std::int64_t other = 100; other < 100 + static_cast<std::int64_t>(limit); ++other) {
      state.find(shape_of(other), 1);
    }
    detail::Matmul* matmul = state.find(shape_of(k), 1);
    ASSERT_NE(matmul, nullptr);
    const std::vector<float> ones(static_cast<std::size_t>(16 * k), 1.0f);
    std::vector<float> acc(static_cast<std::size_t>(16 * detail::acc_stride(16)));
    std::vector<char> scratch(matmul->scratch_bytes() + 64);
    ASSERT_TRUE(matmul->run(0, ones.data(), ones.data(), acc.data(), scratch.data()));
    EXPECT_EQ(acc[0], static_cast<float>(k));
    EXPECT_EQ(acc[static_cast<std::size_t>(15 * detail::acc_stride(16) + 15)],
              static_cast<float>(k));
  }
}

}  // namespace
}  // namespace test
}  // namespace postlude
