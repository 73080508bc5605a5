// Statuses of CUDA calls as errors; no GPU is needed.
#include <gtest/gtest.h>

#include <string>

#include "cuda/error.hpp"
#include "cuda/gemm/tensor_map.hpp"

namespace postlude {
namespace test {
namespace {

using detail::cuda::check;
using detail::cuda::load_error;
using detail::cuda::missing_entry;
using detail::cuda::refused_map;

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

TEST(CudaErrorTest, AMatrixThatTheDriverRefusesIsDescribed) {
  const CudaError error = refused_map({nullptr, DType::bf16, 4096, 128, 4104, 64}, 1);
  EXPECT_STREQ(
      error.what(),
      "cuTensorMapEncodeTiled refused a matrix of 128 lines of 4096 elements, stride 4104: "
      "error 1");
  EXPECT_EQ(error.code(), 1);
}

TEST(CudaErrorTest, AnOldDriverIsNamed) {
  const CudaError error = missing_entry("cuTensorMapEncodeTiled", "12.0");
  EXPECT_STREQ(error.what(),
               "the driver has no cuTensorMapEncodeTiled: it is older than CUDA 12.0");
  EXPECT_EQ(error.code(), 0);
}

}  // namespace
}  // namespace test
}  // namespace postlude
