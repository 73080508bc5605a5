// Context: where a call runs: device, stream, workspace and the primitives that earlier calls
// prepared.
#pragma once

#include <cstddef>
#include <memory>

#include "postlude/export.hpp"
#include "postlude/stream.hpp"
#include "postlude/tensor_view.hpp"

namespace postlude {

namespace detail {
class ContextState;
}

inline namespace v1 {

class TuneTable;

// A Context belongs to its caller and serves one thread at a time; as many as wanted may exist side
// by side, and none changes another's results. Calls need workspace_size(params, context) bytes of
// scratch memory: hand over your own with set_workspace, or let the Context hold some with reserve.
// Inside a call nothing is allocated on the device and nothing synchronises; host-side primitives
// are built at the first call of a shape and kept.
class POSTLUDE_API Context {
 public:
  // Throws Unsupported where this build has no backend for the device, CudaError where the device
  // does not answer.
  explicit Context(Device device = {}, StreamRef stream = {});

  ~Context();
  Context(Context&&) noexcept;
  Context& operator=(Context&&) noexcept;

  Device device() const;
  StreamRef stream() const;
  void set_stream(StreamRef stream);

  // Uses the caller's memory on this device, aligned to 256 bytes, until set again; it must outlive
  // the calls' work.
  void set_workspace(void* data, std::size_t bytes);
  // Holds at least `bytes` of workspace owned by this Context (allocates; not for use inside a
  // stream capture).
  void reserve(std::size_t bytes);
  // Frees what reserve allocated; on a GPU it first waits until the device has nothing left to do.
  // The stream need not exist any more.
  void release();
  // Bytes of the workspace that calls may use, the caller's or this Context's own.
  std::size_t workspace_bytes() const;

  // True: row i of any output has the same bits whatever the number of rows is. False by default.
  bool batch_invariant() const;
  void set_batch_invariant(bool value);

  // True (the default) promises that a call's weights are not written while it runs, nor by a
  // kernel ahead of it, on any stream that it waits for, that lets its successors start early:
  // those of Postlude's ops do, and so do other libraries' programmatic launches (some of cuBLAS's
  // and Triton's). Kernels may then read weights while those ahead of them still run. Copies and
  // elementwise kernels, such as torch's, end before one of Postlude's starts, and pack_weight,
  // quantize_weight and Weight::unpack may come right before a call.
  // False, for a weight that has just been computed: no kernel reads a weight before all that is
  // ahead of it in the stream has ended. Costs that overlap, which shows with few rows; no effect
  // on the CPU.
  bool weights_static() const;
  void set_weights_static(bool value);

  // True: on a GPU, products of float32 may be made of one TF32 product instead of three. Their
  // operands are rounded to TF32's 11 bits, to the nearest, ties away from zero; sums are float32
  // all the same. So each product may be off by 2^-10 of its size, instead of about 2^-21. False by
  // default, whatever other libraries are allowed. No effect on other dtypes, on the CPU, and where
  // a kernel multiplies in float32, as for few rows. The same call still gives the same bits, and
  // batch_invariant holds.
  bool allow_tf32() const;
  void set_allow_tf32(bool value);

  // Tiles that `postlude tune` found faster than those which the library would choose, for the
  // problems that the table has; see postlude/tuning.hpp. A new Context of a GPU has that of the
  // file which POSTLUDE_TUNE_FILE names in the environment, else none; an empty table takes it off
  // again. Throws std::invalid_argument where the table is of another GPU or version of the
  // library, or has a tile that this build lacks or that does not run its problem. Sums of k in
  // other parts round otherwise, so that a table can change a result's last bits; it has no say
  // where batch_invariant is set.
  void set_tune_table(const TuneTable& table);
  TuneTable tune_table() const;

  detail::ContextState& state() const { return *state_; }

 private:
  std::unique_ptr<detail::ContextState> state_;
};

}  // namespace v1
}  // namespace postlude
