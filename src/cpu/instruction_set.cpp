// Picks, once a process, the vector code for the best instruction set that this machine has.
#include "cpu/isa/tile_ops.hpp"

namespace postlude {
namespace detail {

extern const TileOps tile_ops_baseline;
#if defined(POSTLUDE_X86_64)
extern const TileOps tile_ops_avx2;
extern const TileOps tile_ops_avx512;
#endif

namespace {

const TileOps& detect() {
#if defined(POSTLUDE_X86_64)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq");
  if (avx512) return tile_ops_avx512;
  if (avx2) return tile_ops_avx2;
#endif
  return tile_ops_baseline;
}

}  // namespace

const TileOps& tile_ops() {
  static const TileOps& best = detect();
  return best;
}

}  // namespace detail
}  // namespace postlude
