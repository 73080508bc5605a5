// Memory of the CPU or the GPU, and the order of work on them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "postlude/postlude.hpp"

struct CUgraphExec_st;  // cudaGraphExec_t points to one

namespace engine {

using Memory = std::shared_ptr<float>;

// Memory of a device for this many floats. That of the host is page-locked where there is a GPU to
// copy to.
Memory allocate(postlude::Device device, std::int64_t floats);

// On a GPU a stream, on the CPU the caller's thread.
class Stream {
 public:
  // Throws std::runtime_error for a GPU where this program was built without CUDA.
  explicit Stream(postlude::Device device);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  postlude::StreamRef ref() const;
  // Copies from host to device, back or within either, after all that is ahead in the stream.
  void copy(float* to, const float* from, std::int64_t floats);
  void wait();
  // Does the work and waits for its end. On a GPU the work of each key is recorded as a CUDA graph
  // the first time, and from then on that graph is launched in its place: it must read and write
  // the same memory every time, allocate nothing and wait for nothing.
  void run(std::int64_t key, const std::function<void()>& work);

 private:
  postlude::Device device_;
  CUstream_st* stream_ = nullptr;
  std::map<std::int64_t, CUgraphExec_st*> graphs_;
};

}  // namespace engine
