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

Memory allocate(postlude::Device device, std::int64_t floats);
// Memory of the host that the device copies from and to: page-locked for a GPU.
Memory allocate_host(postlude::Device device, std::int64_t floats);

// On a GPU a stream, on the CPU the caller's thread.
class Stream {
 public:
  explicit Stream(postlude::Device device);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  postlude::StreamRef ref() const { return stream_; }
  // Copies between host and device or within either.
  void copy(float* to, const float* from, std::int64_t floats);
  void wait();
  // Does the work and waits for its end. On a GPU the work of each key is recorded as a CUDA graph
  // once, which is launched from then on: the work must read and write the same memory every time,
  // allocate nothing and wait for nothing.
  void run(std::int64_t key, const std::function<void()>& work);

 private:
  CUstream_st* stream_ = nullptr;
  std::map<std::int64_t, CUgraphExec_st*> graphs_;
};

}  // namespace engine
