// TuneTable: the tiles that `postlude tune` found faster on one GPU than those that the library
// would choose; Context::set_tune_table makes a Context take them.
//
// A tune file is text: five lines that say what it is for, then a line for each problem.
//
//   postlude tune file 1
//   version 0.1.0
//   gpu NVIDIA H200
//   arch sm_90
//   multiprocessors 132
//   dtype=bf16 m=16 n=4096 k=14336 epilogue=residual kernel=cuda.sm90 tile=swap_16x64_c1_s2
//       us=41.2 shipped_us=43.9
//
// (the last two are one line). Fields come in this order; us and shipped_us are what was measured
// with the tile and without. Empty lines and lines that begin with # may follow the first five. A
// line that is anything else is an error, and so is a second one for the same problem.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "postlude/context.hpp"
#include "postlude/export.hpp"
#include "postlude/tensor_view.hpp"

namespace postlude {

namespace detail {
struct TuneState;
}

inline namespace v1 {

// What follows a product, as far as the choice of its tile depends on it. Biases and alpha go with
// any. Products with anything else (a clamp, scales of columns, an output of another dtype, a
// residual and an activation) have no entries.
enum class TuneEpilogue : std::uint8_t {
  plain,
  activation,
  gated,     // act(gate) * up
  residual,  // no activation
  scaled,    // the norm that a packed weight holds
};

// A product of x (m, k) and a weight; n: columns of out, of which a gated weight has twice as many
// rows. All are of one dtype.
struct TuneProblem {
  DType dtype = DType::bf16;
  TuneEpilogue epilogue = TuneEpilogue::plain;
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
};

// True where every member is equal.
inline bool operator==(const TuneProblem& a, const TuneProblem& b) {
  return a.m == b.m && a.n == b.n && a.k == b.k && a.epilogue == b.epilogue && a.dtype == b.dtype;
}

// A tune file, read. A cheap value: copies share the entries, which never change.
class POSTLUDE_API TuneTable {
 public:
  TuneTable() = default;  // none
  // Both throw std::invalid_argument with the file's name, the line and what is wrong with it.
  static TuneTable read(const std::string& path);
  static TuneTable parse(std::string_view text, const std::string& name);

  explicit operator bool() const { return state_ != nullptr; }
  std::string name() const;  // of the file; empty for none
  std::size_t size() const;  // entries
  // The five lines, and the line of each entry; for programs that write tune files.
  std::string header() const;
  std::vector<std::string> lines() const;
  // The entries' problems, in the same order.
  std::vector<TuneProblem> problems() const;

  const std::shared_ptr<const detail::TuneState>& state() const { return state_; }

 private:
  std::shared_ptr<const detail::TuneState> state_;
};

// The beginning of a tune file for this library and the Context's device. Throws Unsupported where
// there is nothing to tune, as on the CPU.
POSTLUDE_API std::string tune_header(const Context& context);
// The beginning of an entry's line: "dtype=bf16 m=16 n=4096 k=14336 epilogue=residual".
POSTLUDE_API std::string tune_key(const TuneProblem& problem);
// The problem of just such a text. Throws std::invalid_argument where it is none.
POSTLUDE_API TuneProblem parse_tune_key(std::string_view key);
// What may follow it: "kernel=cuda.sm90 tile=swap_16x64_c1_s2" for each tile that runs the problem
// on the Context's device, where its tensors are compact; none where there is no choice.
POSTLUDE_API std::vector<std::string> tune_tiles(const TuneProblem& problem,
                                                 const Context& context);

}  // namespace v1
}  // namespace postlude
