// Tune files inside the core: their entries, and those of one Context with the kernels that they
// name.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "postlude/tuning.hpp"
#include "problem.hpp"

namespace postlude {
namespace detail {

class ContextState;
class GemmKernel;

// The device that a tune file is for; without a name where there is nothing to tune.
struct TuneDevice {
  std::string name;
  std::string arch;
  int multiprocessors = 0;
};

struct TuneEntry {
  TuneProblem problem;
  std::string kernel;
  std::string tile;
  double us = 0.0;
  double shipped_us = 0.0;
  int line = 0;
  std::string text;  // the line
};

struct TuneState {
  std::string name;  // of the file
  std::string version;
  TuneDevice device;
  std::vector<TuneEntry> entries;
};

struct TuneProblemHash {
  std::size_t operator()(const TuneProblem& problem) const;
};

// The entries that hold on a Context's device.
struct Tuning {
  struct Choice {
    const TuneEntry* entry = nullptr;
    const GemmKernel* kernel = nullptr;
    int tile = -1;  // see Gemm::tile
  };

  TuneTable table;
  std::unordered_map<TuneProblem, Choice, TuneProblemHash> choices;

  const Choice* find(const Gemm& gemm) const;
};

// The first lines of a tune file.
std::string header_text(const std::string& version, const TuneDevice& device);

// What a product is to a tune file, absent where files have no entries for its kind.
std::optional<TuneProblem> tune_problem(const Gemm& gemm);
// A product that is this to a tune file: of compact tensors at addresses that nothing may read.
Gemm gemm_of(const TuneProblem& problem);

// The table's entries with the kernels of the context's backend. Throws std::invalid_argument where
// it is of another library or device, or has an entry that does not run there.
std::shared_ptr<const Tuning> tuning_of(const TuneTable& table, const ContextState& context);

}  // namespace detail
}  // namespace postlude
