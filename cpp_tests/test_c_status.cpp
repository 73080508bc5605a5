// Exceptions as statuses of the C interface, those too that no function of the library throws.
#include <gtest/gtest.h>

#include <new>
#include <stdexcept>
#include <string>

#include "capi/status.hpp"
#include "postlude/error.hpp"

namespace postlude {
namespace test {
namespace {

template <class Exception>
postlude_status status_of(const Exception& exception) {
  return capi::guarded([&] { throw exception; });
}

TEST(CStatusTest, EveryExceptionHasAStatusAndAText) {
  EXPECT_EQ(status_of(std::invalid_argument("[linear] x: wrong")), POSTLUDE_INVALID_ARGUMENT);
  EXPECT_STREQ(postlude_last_error(), "[linear] x: wrong");
  EXPECT_EQ(status_of(Unsupported("[linear] no kernel")), POSTLUDE_UNSUPPORTED);
  EXPECT_STREQ(postlude_last_error(), "[linear] no kernel");
  EXPECT_EQ(status_of(CudaError("cudaLaunchKernel failed", 719)), POSTLUDE_CUDA_ERROR);
  EXPECT_STREQ(postlude_last_error(), "cudaLaunchKernel failed");
  EXPECT_EQ(postlude_last_cuda_error(), 719);
  EXPECT_EQ(status_of(std::bad_alloc()), POSTLUDE_OUT_OF_MEMORY);
  EXPECT_STREQ(postlude_last_error(), "the host is out of memory");
  EXPECT_EQ(status_of(std::runtime_error("a bug")), POSTLUDE_INTERNAL_ERROR);
  EXPECT_STREQ(postlude_last_error(), "a bug");
  EXPECT_EQ(status_of(7), POSTLUDE_INTERNAL_ERROR);
  EXPECT_STREQ(postlude_last_error(), "an exception of an unknown type");
}

TEST(CStatusTest, WhatThrowsNothingIsOk) {
  EXPECT_EQ(capi::guarded([] {}), POSTLUDE_OK);
}

}  // namespace
}  // namespace test
}  // namespace postlude
