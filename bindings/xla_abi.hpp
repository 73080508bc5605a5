// The C structures by which XLA calls a function from outside (its FFI, version 0.1 to 0.4): what a
// handler for jax.ffi reads and calls.
//
// Only layout matters here, and names are our own: XLA's header comes with jaxlib, which nobody
// should have to install to build Postlude, and every wheel shall have the handlers. XLA keeps this
// binary interface stable, while its header and its C++ classes change names; it asks each handler
// for the version that it was written for, and refuses one that it no longer knows.
// tests/test_jax_abi.py compares each offset with jaxlib's header.
#pragma once

#include <cstddef>
#include <cstdint>

namespace postlude {
namespace python {
namespace xla {

inline constexpr int major_version = 0;
// The oldest and the newest whose layouts were compared: they are the same.
inline constexpr int first_minor_version = 1;
inline constexpr int last_minor_version = 4;

inline constexpr int extension_metadata = 1;
inline constexpr int stage_execute = 3;
inline constexpr int kind_buffer = 1;  // of an argument and of a result
inline constexpr int kind_scalar = 3;  // of an attribute
inline constexpr int kind_string = 4;  // of an attribute

// Of elements.
inline constexpr int type_bool = 1;
inline constexpr int type_i64 = 5;
inline constexpr int type_f16 = 10;
inline constexpr int type_f32 = 11;
inline constexpr int type_f64 = 12;
inline constexpr int type_bf16 = 16;

// Of errors.
inline constexpr int code_invalid_argument = 3;
inline constexpr int code_unimplemented = 12;
inline constexpr int code_internal = 13;

struct Error;      // XLA's own
struct Execution;  // XLA's own: the call that runs now

// `size` is the number of bytes that the maker of a structure knows of it.
struct Extension {
  std::size_t size;
  int type;
  Extension* next;
};

struct Version {
  std::size_t size;
  Extension* extensions;
  int major;
  int minor;
};

struct Buffer {
  std::size_t size;
  Extension* extensions;
  int type;
  void* data;
  std::int64_t rank;
  std::int64_t* shape;  // as the program has it, whatever the layout in memory
};

struct Text {
  const char* data;
  std::size_t size;
};

struct Scalar {
  int type;
  void* value;
};

// Arguments, or results.
struct Buffers {
  std::size_t size;
  Extension* extensions;
  std::int64_t count;
  int* kinds;
  void** values;
};

struct Attributes {
  std::size_t size;
  Extension* extensions;
  std::int64_t count;
  int* kinds;
  Text** names;
  void** values;
};

struct Api;

// More follows in XLA's.
struct CallFrame {
  std::size_t size;
  Extension* extensions;
  const Api* api;
  Execution* execution;
  int stage;
  Buffers arguments;
  Buffers results;
  Attributes attributes;
};

struct Metadata {
  std::size_t size;
  Version version;
  std::uint32_t traits;
  std::int64_t state_type;  // 0: the handler has no state
};

// What XLA passes instead of a call to ask for the metadata.
struct MetadataExtension {
  Extension base;
  Metadata* metadata;
};

struct ErrorCreate {
  std::size_t size;
  Extension* extensions;
  const char* message;
  int code;
};

struct StreamGet {
  std::size_t size;
  Extension* extensions;
  Execution* execution;
  void* stream;  // out
};

struct MemoryAllocate {
  std::size_t size;
  Extension* extensions;
  Execution* execution;
  std::size_t bytes;
  std::size_t alignment;
  void* data;  // out
};

struct MemoryFree {
  std::size_t size;
  Extension* extensions;
  Execution* execution;
  std::size_t bytes;
  void* data;
};

struct DeviceGet {
  std::size_t size;
  Extension* extensions;
  Execution* execution;
  std::int32_t index;  // out
};

// XLA's functions; those that nothing here calls are void*.
struct Api {
  std::size_t size;
  Extension* extensions;
  Version version;
  const void* internal;
  Error* (*create_error)(ErrorCreate*);
  void* error_message;
  void* destroy_error;
  void* register_handler;
  Error* (*get_stream)(StreamGet*);
  void* register_type;
  void* get_context;
  void* set_state;
  void* get_state;
  Error* (*allocate)(MemoryAllocate*);
  Error* (*free)(MemoryFree*);
  void* schedule;
  void* count_threads;
  void* create_future;
  void* future_available;
  void* future_error;
  void* get_run;
  Error* (*get_device)(DeviceGet*);  // from 0.3 on
};

using Handler = Error*(CallFrame*);

}  // namespace xla
}  // namespace python
}  // namespace postlude
