// Statuses of CUDA calls as errors; no GPU is needed.
#include <gtest/gtest.h>

#include <string>

#include "cuda/error.hpp"

namespace postlude {
namespace test {
namespace {

using detail::cuda::check;
using detail::cuda::load_error;

TEST(CudaErrorTest, AFailedCallIsNamed) {
  EXPECT_NO_THROW(check(cudaSuccess, "cudaMalloc"));
  try {
    check(cudaErrorMemoryAllocation, "cudaMalloc of 7 bytes");
    FAIL();
  } catch (const CudaError& error) {
    EXPECT_STREQ(error.what(),
                 "cudaMalloc of 7 bytes failed: out of memory (cudaErrorMemoryAllocation)");
    EXPECT_EQ(error.code(), cudaErrorMemoryAllocation);
  }
}

TEST(CudaErrorTest, ABuildWithoutCodeForTheDeviceSaysWhatItHolds) {
  for (int code : {cudaErrorNoKernelImageForDevice, cudaErrorInvalidDeviceFunction}) {
    const CudaError error = load_error(CudaError("no image", code), 75, "80-real, 90a-real");
    EXPECT_STREQ(
        error.what(),
        "[Context] device: it is sm_75, and this build holds code for 80-real, 90a-real only");
    EXPECT_EQ(error.code(), code);
  }
}

TEST(CudaErrorTest, OtherErrorsOfLoadingStayAsTheyAre) {
  const CudaError error = load_error(CudaError("no memory", cudaErrorMemoryAllocation), 90, "90");
  EXPECT_STREQ(error.what(), "no memory");
  EXPECT_EQ(error.code(), cudaErrorMemoryAllocation);
}

}  // namespace
}  // namespace test
}  // namespace postlude
