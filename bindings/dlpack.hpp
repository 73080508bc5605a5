// The C structures of DLPack 1.3 by which frameworks lend their tensors: capsules and the table of
// exchange functions.
//
// Only layout matters here (https://dmlc.github.io/dlpack/latest): names are our own.
#pragma once

#include <cstdint>

namespace postlude {
namespace python {
namespace dlpack {

inline constexpr std::uint32_t major_version = 1;
inline constexpr std::uint64_t flag_read_only = 1;

struct Version {
  std::uint32_t major;
  std::uint32_t minor;
};

struct Device {
  std::int32_t device_type;
  std::int32_t device_id;
};

struct DataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};

struct Tensor {
  void* data;
  Device device;
  std::int32_t ndim;
  DataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;
  std::uint64_t byte_offset;
};

// In a capsule named "dltensor".
struct ManagedTensor {
  Tensor tensor;
  void* context;
  void (*deleter)(ManagedTensor* self);
};

// In a capsule named "dltensor_versioned".
struct VersionedTensor {
  Version version;
  void* context;
  void (*deleter)(VersionedTensor* self);
  std::uint64_t flags;
  Tensor tensor;
};

// In a capsule named "dlpack_exchange_api", an attribute of the tensor's type. Python objects are
// void* here.
struct ExchangeTable {
  Version version;
  ExchangeTable* previous;
  int (*allocate)(Tensor* prototype, VersionedTensor** out, void* error_context,
                  void (*set_error)(void* error_context, const char* kind, const char* message));
  int (*managed_from_object)(void* object, VersionedTensor** out);
  int (*object_from_managed)(VersionedTensor* tensor, void** out_object);
  // Fills `out` with a view that lives as long as the object stays as it is; may be null.
  int (*view_of_object)(void* object, Tensor* out);
  int (*current_stream)(std::int32_t device_type, std::int32_t device_id, void** out_stream);
};

}  // namespace dlpack
}  // namespace python
}  // namespace postlude
