// Picks, once a process, the vector code for the best instruction set that this machine has.
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu/isa/tile_ops.hpp"

namespace postlude {
namespace detail {

extern const TileOps tile_ops_baseline;
#if defined(POSTLUDE_X86_64)
extern const TileOps tile_ops_avx2;
extern const TileOps tile_ops_avx512;
#endif

namespace {

// The tables that this machine can run, best last.
std::vector<const TileOps*> available() {
  std::vector<const TileOps*> tables = {&tile_ops_baseline};
#if defined(POSTLUDE_X86_64)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq");
  if (avx2) tables.push_back(&tile_ops_avx2);
  if (avx512) tables.push_back(&tile_ops_avx512);
#endif
  return tables;
}

// POSTLUDE_CPU_ISA names a lesser table, for tests and for telling a miscompiled one from a wrong
// formula.
const TileOps& choose() {
  const std::vector<const TileOps*> tables = available();
  const char* wanted = std::getenv("POSTLUDE_CPU_ISA");
  if (wanted == nullptr || *wanted == '\0') return *tables.back();
  std::string names;
  for (const TileOps* table : tables) {
    if (std::string(wanted) == table->isa) return *table;
    names += (names.empty() ? "" : ", ") + std::string(table->isa);
  }
  throw std::invalid_argument("[environment] POSTLUDE_CPU_ISA: expected one of " + names +
                              " on this machine, got '" + std::string(wanted) + "'");
}

}  // namespace

const TileOps& tile_ops() {
  static const TileOps& best = choose();
  return best;
}

}  // namespace detail
}  // namespace postlude
