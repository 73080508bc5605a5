// Tensor maps: see tensor_map.hpp. The driver's encoder is looked up at run time, so that nothing
// links libcuda.
#include "cuda/gemm/tensor_map.hpp"

#include <cuda_runtime_api.h>

#include <algorithm>

#include "cuda/error.hpp"
#include "memo.hpp"
#include "postlude/error.hpp"

namespace postlude {
namespace detail {
namespace cuda {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

Encode encoder() {
  static const Encode function = [] {
    void* entry = nullptr;
    cudaDriverEntryPointQueryResult found{};
    check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000,
                                           cudaEnableDefault, &found),
          "cudaGetDriverEntryPointByVersion(cuTensorMapEncodeTiled)");
    if (found != cudaDriverEntryPointSuccess || entry == nullptr) {
      throw missing_entry("cuTensorMapEncodeTiled", "12.0");
    }
    return reinterpret_cast<Encode>(entry);
  }();
  return function;
}

CUtensorMapDataType type_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    case DType::f16:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    default:
      return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  }
}

// The elements of a line that the swizzle repeats after.
int box_length(DType dtype) { return 128 / static_cast<int>(size_of(dtype)); }

// sizes and box from the fastest dimension on; strides (elements) of all but that one.
CUtensorMap encode(const TiledMatrix& m, int rank, const std::int64_t* sizes,
                   const std::int64_t* strides, const int* box) {
  cuuint64_t size_values[5];
  cuuint64_t stride_bytes[4];
  cuuint32_t box_values[5];
  const cuuint32_t ones[5] = {1, 1, 1, 1, 1};
  for (int d = 0; d < rank; ++d) {
    size_values[d] = static_cast<cuuint64_t>(std::max<std::int64_t>(sizes[d], 1));
    box_values[d] = static_cast<cuuint32_t>(box[d]);
    if (d > 0) stride_bytes[d - 1] = static_cast<cuuint64_t>(strides[d - 1]) * size_of(m.dtype);
  }
  CUtensorMap map;
  const CUresult result = encoder()(
      &map, type_of(m.dtype), static_cast<cuuint32_t>(rank), const_cast<void*>(m.data), size_values,
      stride_bytes, box_values, ones, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
      CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) throw refused_map(m, static_cast<int>(result));
  return map;
}

CUtensorMap plain_map(const TiledMatrix& m) {
  const std::int64_t sizes[] = {m.length, m.lines};
  const std::int64_t strides[] = {m.stride};
  const int box[] = {box_length(m.dtype), m.box_lines};
  return encode(m, 2, sizes, strides, box);
}

CUtensorMap interleaved_map(const TiledMatrix& half, std::int64_t half_distance) {
  const std::int64_t sizes[] = {half.length, 8, 2, half.lines / 8};
  const std::int64_t strides[] = {half.stride, half_distance, 8 * half.stride};
  const int box[] = {box_length(half.dtype), 8, 2, half.box_lines / 16};
  return encode(half, 4, sizes, strides, box);
}

// The map of one matrix, encoded anew only where this thread has not just had it: the driver's
// encoder looks at nothing but its arguments.
template <class Make>
CUtensorMap known_map(const TiledMatrix& m, std::int64_t half_distance, Make&& make) {
  thread_local Memo<7, CUtensorMap, 256> maps;
  return maps.get(
      {static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(m.data)),
       static_cast<std::int64_t>(m.dtype), m.length, m.lines, m.stride, m.box_lines, half_distance},
      make);
}

}  // namespace

CUtensorMap tensor_map(const TiledMatrix& m) {
  return known_map(m, 0, [&] { return plain_map(m); });
}

CUtensorMap interleaved_tensor_map(const TiledMatrix& half, std::int64_t half_distance) {
  return known_map(half, half_distance, [&] { return interleaved_map(half, half_distance); });
}

}  // namespace cuda
}  // namespace detail
}  // namespace postlude
