// StreamRef: a CUDA stream that somebody else owns, named without CUDA's headers.
#pragma once

#include <cstddef>
#include <cstdint>

struct CUstream_st;  // cudaStream_t and CUstream are pointers to this

namespace postlude {
inline namespace v1 {

// Converts from a cudaStream_t. The legacy default stream is StreamRef(); an int or a nullptr does
// not convert, so that a forgotten stream is a compile error. Ignored by the CPU backend.
class StreamRef {
 public:
  constexpr StreamRef() = default;
  constexpr StreamRef(CUstream_st* stream) : stream_(stream) {}  // NOLINT: implicit on purpose
  StreamRef(int) = delete;
  StreamRef(std::nullptr_t) = delete;

  // From the integer that Python frameworks hand out.
  static StreamRef from_handle(std::uintptr_t handle) {
    return StreamRef(reinterpret_cast<CUstream_st*>(handle));
  }

  constexpr CUstream_st* get() const { return stream_; }

 private:
  CUstream_st* stream_ = nullptr;
};

}  // namespace v1
}  // namespace postlude
