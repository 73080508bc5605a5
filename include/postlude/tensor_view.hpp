// TensorView: a non-owning view of a tensor (pointer, dtype, device, shape, strides), made from a
// DLTensor for free.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>

#include "postlude/export.hpp"

namespace postlude {
inline namespace v1 {

// Element types. Activations are f32, bf16 or f16; i8 is for quantised weights.
enum class DType : std::uint8_t { f32, bf16, f16, i8 };

// Bytes of one element.
constexpr std::size_t size_of(DType dtype) {
  return dtype == DType::f32 ? 4 : dtype == DType::i8 ? 1 : 2;
}

// "float32", "bfloat16", "float16" or "int8".
POSTLUDE_API const char* to_string(DType dtype);

// Kinds of device, with DLPack's numbers.
enum class DeviceType : std::int32_t { cpu = 1, cuda = 2 };

// A device; the CPU is one, whatever the index.
struct Device {
  DeviceType type = DeviceType::cpu;
  std::int32_t index = 0;

  friend constexpr bool operator==(Device a, Device b) {
    return a.type == b.type && (a.type == DeviceType::cpu || a.index == b.index);
  }
  friend constexpr bool operator!=(Device a, Device b) { return !(a == b); }
};

// "cpu" or "cuda:0".
POSTLUDE_API std::string to_string(Device device);

// A view of a tensor that somebody else owns. Strides count elements, not bytes, and may be
// anything for a dimension of size 1. A default-constructed view means "absent" in a parameter
// struct; a view with a dimension of size 0 is present and may have a null pointer.
class TensorView {
 public:
  static constexpr int max_rank = 8;
  // The elements of a view, and those that its strides step over, are at most this many, so that no
  // count and no address within it leaves 64 bits.
  static constexpr std::int64_t max_elements = std::int64_t{1} << 60;

  TensorView() = default;

  // A row-major contiguous tensor. Throws std::invalid_argument for a rank over max_rank, a
  // negative size or one that max_elements excludes.
  TensorView(const void* data, DType dtype, std::initializer_list<std::int64_t> shape,
             Device device = {})
      : TensorView(data, dtype, static_cast<int>(shape.size()), shape.begin(), nullptr, device) {}

  // A tensor with explicit strides, in elements.
  TensorView(const void* data, DType dtype, std::initializer_list<std::int64_t> shape,
             std::initializer_list<std::int64_t> strides, Device device = {})
      : TensorView(data, dtype, static_cast<int>(shape.size()), shape.begin(), strides.begin(),
                   device) {
    if (shape.size() != strides.size()) {
      throw std::invalid_argument("[TensorView] strides: expected " + std::to_string(shape.size()) +
                                  " values, got " + std::to_string(strides.size()));
    }
  }

  // A tensor of `rank` dimensions; null strides mean row-major contiguous.
  TensorView(const void* data, DType dtype, int rank, const std::int64_t* shape,
             const std::int64_t* strides, Device device = {})
      : data_(const_cast<void*>(data)), dtype_(dtype), device_(device), rank_(rank) {
    if (rank < 0 || rank > max_rank) {
      throw std::invalid_argument("[TensorView] rank: expected 0 to " + std::to_string(max_rank) +
                                  ", got " + std::to_string(rank));
    }
    if (rank > 0 && shape == nullptr) {
      throw std::invalid_argument("[TensorView] shape: expected " + std::to_string(rank) +
                                  " sizes, got a null pointer");
    }
    std::int64_t contiguous = 1;
    double elements = 1.0, span = 0.0;  // in double, which no size or stride overflows
    for (int d = rank - 1; d >= 0; --d) {
      if (shape[d] < 0) {
        throw std::invalid_argument("[TensorView] shape: expected sizes >= 0, got " +
                                    std::to_string(shape[d]) + " in dimension " +
                                    std::to_string(d));
      }
      shape_[d] = shape[d];
      strides_[d] = strides != nullptr ? strides[d] : contiguous;
      const double size = static_cast<double>(shape[d]), stride = static_cast<double>(strides_[d]);
      if (shape[d] > 0) elements *= size;
      if (shape[d] > 1) span += (stride < 0.0 ? -stride : stride) * (size - 1.0);
      if (elements > static_cast<double>(max_elements) ||
          span > static_cast<double>(max_elements)) {
        throw std::invalid_argument(
            "[TensorView] shape: expected at most 2^60 elements, and no more between the first and "
            "the last, got size " +
            std::to_string(shape[d]) + " with stride " + std::to_string(strides_[d]) +
            " in dimension " + std::to_string(d));
      }
      contiguous *= shape[d] > 0 ? shape[d] : 1;
    }
  }

  // True where the view is present (see the class comment).
  explicit operator bool() const { return rank_ >= 0; }

  void* data() const { return data_; }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  int rank() const { return rank_ < 0 ? 0 : rank_; }
  std::int64_t size(int dim) const { return shape_[dim < 0 ? dim + rank_ : dim]; }
  std::int64_t stride(int dim) const { return strides_[dim < 0 ? dim + rank_ : dim]; }
  const std::int64_t* shape() const { return shape_; }
  const std::int64_t* strides() const { return strides_; }

  std::int64_t numel() const {
    std::int64_t n = rank_ < 0 ? 0 : 1;
    for (int d = 0; d < rank_; ++d) n *= shape_[d];
    return n;
  }

 private:
  void* data_ = nullptr;
  DType dtype_ = DType::f32;
  Device device_{};
  int rank_ = -1;
  std::int64_t shape_[max_rank] = {};
  std::int64_t strides_[max_rank] = {};
};

// "float32 (2, 3) strides (3, 1) on cpu", or "none" for an absent view.
POSTLUDE_API std::string to_string(const TensorView& view);

// A view of a DLPack tensor. Works with any struct that has DLTensor's members, so no DLPack header
// is needed here. Throws std::invalid_argument for a dtype, device, rank or lane count that
// Postlude does not have, and for sizes, strides and offsets as TensorView does.
template <class DLTensorT>
TensorView from_dlpack(const DLTensorT& tensor) {
  constexpr int code_int = 0, code_float = 2, code_bfloat = 4;
  const int code = static_cast<int>(tensor.dtype.code);
  const int bits = static_cast<int>(tensor.dtype.bits);
  DType dtype;
  if (code == code_float && bits == 32) {
    dtype = DType::f32;
  } else if (code == code_bfloat && bits == 16) {
    dtype = DType::bf16;
  } else if (code == code_float && bits == 16) {
    dtype = DType::f16;
  } else if (code == code_int && bits == 8) {
    dtype = DType::i8;
  } else {
    throw std::invalid_argument(
        "[from_dlpack] dtype: expected float32, bfloat16, float16 or int8, got code " +
        std::to_string(code) + " with " + std::to_string(bits) + " bits");
  }
  if (tensor.dtype.lanes != 1) {
    throw std::invalid_argument("[from_dlpack] dtype: expected 1 lane, got " +
                                std::to_string(tensor.dtype.lanes));
  }
  constexpr int cpu = 1, cuda = 2, cuda_host = 3;
  const int device_type = static_cast<int>(tensor.device.device_type);
  if (device_type != cpu && device_type != cuda && device_type != cuda_host) {
    throw std::invalid_argument(
        "[from_dlpack] device: expected cpu (1), cuda (2) or pinned host memory (3), got type " +
        std::to_string(device_type));
  }
  const Device device{device_type == cuda ? DeviceType::cuda : DeviceType::cpu,
                      device_type == cuda ? static_cast<std::int32_t>(tensor.device.device_id) : 0};
  constexpr std::uint64_t most_bytes = static_cast<std::uint64_t>(TensorView::max_elements) * 4;
  if (tensor.byte_offset > most_bytes) {
    throw std::invalid_argument("[from_dlpack] byte_offset: expected at most " +
                                std::to_string(most_bytes) + ", got " +
                                std::to_string(tensor.byte_offset));
  }
  const char* data = static_cast<const char*>(tensor.data);
  if (data != nullptr) data += tensor.byte_offset;
  return TensorView(data, dtype, static_cast<int>(tensor.ndim), tensor.shape, tensor.strides,
                    device);
}

// Fills a DLTensor-like struct from a view; shape and strides point into the view, which must
// outlive it.
template <class DLTensorT>
void to_dlpack(const TensorView& view, DLTensorT& tensor) {
  constexpr int code_int = 0, code_float = 2, code_bfloat = 4;
  tensor.data = view.data();
  tensor.device.device_type =
      static_cast<decltype(tensor.device.device_type)>(static_cast<int>(view.device().type));
  tensor.device.device_id = view.device().index;
  tensor.ndim = view.rank();
  tensor.dtype.code =
      static_cast<decltype(tensor.dtype.code)>(view.dtype() == DType::i8     ? code_int
                                               : view.dtype() == DType::bf16 ? code_bfloat
                                                                             : code_float);
  tensor.dtype.bits =
      static_cast<decltype(tensor.dtype.bits)>(8 * static_cast<int>(size_of(view.dtype())));
  tensor.dtype.lanes = 1;
  tensor.shape = const_cast<std::int64_t*>(view.shape());
  tensor.strides = const_cast<std::int64_t*>(view.strides());
  tensor.byte_offset = 0;
}

}  // namespace v1
}  // namespace postlude
