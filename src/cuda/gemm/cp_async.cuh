// Copies of up to 16 bytes from global to shared memory, the rest of the 16 filled with zeros.
#pragma once

#include <cstdint>

#include <cute/arch/copy_sm80.hpp>
#include <cute/arch/util.hpp>

namespace postlude {
namespace detail {
namespace cuda {

// Asynchronous, completed by cute::cp_async_wait. Both addresses are aligned to 16 bytes; `from` is
// not read where `bytes` is 0. CuTe's own wrapper copies all 16 bytes or none.
__device__ inline void copy_async(char* to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;\n" ::"r"(
                   cute::cast_smem_ptr_to_uint(to)),
               "l"(from), "r"(bytes));
}

// The same for elements at any multiple of their size: those of 4 bytes one by one, those of 2,
// which no asynchronous copy is small enough for, through registers.
template <int ElementBytes>
__device__ inline void copy_elements(char* to, const void* from, int bytes) {
  static_assert(ElementBytes == 2 || ElementBytes == 4, "the sizes of what GEMMs multiply");
  if constexpr (ElementBytes == 4) {
    const std::uint32_t* const elements = static_cast<const std::uint32_t*>(from);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      cute::SM80_CP_ASYNC_CACHEALWAYS_ZFILL<std::uint32_t>::copy(
          elements[i], reinterpret_cast<std::uint32_t*>(to)[i], 4 * i < bytes);
    }
  } else {
    union {
      std::uint16_t element[8];
      uint4 all;
    } run;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      run.element[i] = 2 * i < bytes ? static_cast<const std::uint16_t*>(from)[i] : 0;
    }
    *reinterpret_cast<uint4*>(to) = run.all;
  }
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
