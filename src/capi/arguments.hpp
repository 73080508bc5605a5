// How arguments of the C interface become those of the C++ interface: structs of any version,
// tensors, handles and numbers of enumerators.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "check.hpp"
#include "postlude/postlude.h"
#include "postlude/postlude.hpp"

namespace postlude {
namespace capi {

// Where an argument stands, for messages.
struct Argument {
  const char* op;
  const char* name;
};

// A handle is the address of the C++ object that it stands for.
inline Context* object_of(postlude_context* handle) { return reinterpret_cast<Context*>(handle); }
inline const Context* object_of(const postlude_context* handle) {
  return reinterpret_cast<const Context*>(handle);
}
inline const Weight* object_of(const postlude_weight* handle) {
  return reinterpret_cast<const Weight*>(handle);
}
inline postlude_weight* handle_of(Weight* weight) {
  return reinterpret_cast<postlude_weight*>(weight);
}

// What a pointer that must not be null points to.
template <class T>
T& present(const char* op, const char* name, T* pointer) {
  if (pointer == nullptr) detail::fail(op, name, "a pointer", "NULL");
  return *pointer;
}
inline Context& context_of(const char* op, postlude_context* context) {
  return present(op, "context", object_of(context));
}
inline const Context& context_of(const char* op, const postlude_context* context) {
  return present(op, "context", object_of(context));
}

// Whether every byte is 0.
bool all_zero(const void* bytes, std::size_t count);

// The defaults of a struct in the caller's memory, of which the caller knows `struct_size` bytes.
template <class Struct>
void write_defaults(Struct* target, std::size_t struct_size, Struct defaults) noexcept {
  if (target == nullptr) return;
  defaults.struct_size = struct_size;
  std::memset(static_cast<void*>(target), 0, struct_size);
  std::memcpy(static_cast<void*>(target), &defaults,
              struct_size < sizeof(Struct) ? struct_size : sizeof(Struct));
}

// A struct as this library knows it, from one that may be shorter or longer. `first_size` is its
// size in the first version, which is where the first member that was appended later begins; a
// smaller one has never been.
template <class Struct>
Struct read_struct(Argument argument, const Struct* given, std::size_t first_size,
                   const Struct& defaults) {
  const std::size_t size = present(argument.op, argument.name, given).struct_size;
  const std::string name = std::string(argument.name) + ".struct_size";
  if (size < first_size) {
    detail::fail(argument.op, name, "at least " + std::to_string(first_size) + ", as its init sets",
                 std::to_string(size));
  }
  Struct result = defaults;
  std::memcpy(static_cast<void*>(&result), given, size < sizeof(Struct) ? size : sizeof(Struct));
  if (size > sizeof(Struct) &&
      !all_zero(reinterpret_cast<const char*>(given) + sizeof(Struct), size - sizeof(Struct))) {
    detail::fail(
        argument.op, name, "at most " + std::to_string(sizeof(Struct)) + ", or zeros behind that",
        "members of a later version than this library's in a struct of " + std::to_string(size));
  }
  return result;
}

// Fills the first struct_size bytes of a struct that a function gives back.
template <class Struct>
void write_info(Argument argument, Struct* target, Struct info) {
  const std::size_t size = present(argument.op, argument.name, target).struct_size;
  if (size < sizeof(std::size_t)) {
    detail::fail(argument.op, std::string(argument.name) + ".struct_size",
                 "the size of the struct, as the caller sets it", std::to_string(size));
  }
  write_defaults(target, size, info);
}

// The enumerator of a number, from 0 to `last`.
template <class Enum>
Enum enumerator(Argument argument, std::int32_t value, Enum last) {
  if (value < 0 || value > static_cast<std::int32_t>(last)) {
    detail::fail(argument.op, argument.name,
                 "an enumerator from 0 to " + std::to_string(static_cast<int>(last)),
                 std::to_string(value));
  }
  return static_cast<Enum>(value);
}
DeviceType device_type(Argument argument, std::int32_t value);
// POSTLUDE_DTYPE_DEFAULT is absent.
std::optional<DType> optional_dtype(Argument argument, std::int32_t value);
std::int32_t number_of(DType dtype);

// A view of the tensor, absent for NULL.
TensorView view_of(Argument argument, const postlude_tensor* tensor);
// Absent where the norm is NULL; `argument` names the norm.
Norm norm_of(const char* op, const postlude_norm* norm);
// One of the two, or neither.
WeightRef weight_of(Argument argument, const postlude_tensor* plain,
                    const postlude_weight* prepared);
// clamp's absence is 0.
std::optional<float> clamp_of(float clamp);

// A copy of the text for postlude_free_text.
char* copy_of(const std::string& text);
// Gives the caller a copy of what `make` returns, and null where that throws.
template <class Make>
void give_text(const char* op, char** text, const Make& make) {
  char*& given = present(op, "text", text);
  given = nullptr;
  given = copy_of(make());
}

// The three ways in of an op, once its struct has become Params.
template <class Params>
void workspace_size_of(const char* op, const Params& params, const postlude_tensor* out,
                       const postlude_context* context, std::size_t* bytes) {
  present(op, "bytes", bytes) =
      workspace_size(params, view_of({op, "out"}, out), context_of(op, context));
}
template <class Params>
void explain_to(const char* op, const Params& params, const postlude_tensor* out,
                const postlude_context* context, char** text) {
  give_text(op, text,
            [&] { return explain(params, view_of({op, "out"}, out), context_of(op, context)); });
}

}  // namespace capi
}  // namespace postlude
