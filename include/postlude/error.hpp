// The errors that Postlude throws; all derive from standard exceptions.
//
// Caller's mistakes are std::invalid_argument with the text
// "[op] argument: expected ..., got ...". The two classes below are for what is not a mistake of
// the caller.
#pragma once

#include <stdexcept>
#include <string>

#include "postlude/export.hpp"

namespace postlude {
inline namespace v1 {

// A valid request that no kernel of this build and device can run; the text holds the whole problem
// and each kernel's refusal.
class POSTLUDE_API Unsupported : public std::runtime_error {
 public:
  explicit Unsupported(const std::string& what) : std::runtime_error(what) {}
  ~Unsupported() override;
};

// A CUDA call failed; the text holds the call and CUDA's own words, code() its cudaError_t.
class POSTLUDE_API CudaError : public std::runtime_error {
 public:
  CudaError(const std::string& what, int code) : std::runtime_error(what), code_(code) {}
  ~CudaError() override;
  int code() const noexcept { return code_; }

 private:
  int code_;
};

}  // namespace v1
}  // namespace postlude
