// Validation: each op's params against its contract, with messages that hold the op, the argument
// and the values.
#pragma once

#include <string>

#include "backend.hpp"
#include "overlap.hpp"
#include "postlude/params.hpp"
#include "row_map.hpp"

namespace postlude {
namespace detail {

// Throws std::invalid_argument "[op] argument: expected ..., got ...".
[[noreturn]] void fail(const char* op, const std::string& argument, const std::string& expected,
                       const std::string& got);

// Each throws for the first violation it finds; where it returns, the map holds every activation of
// the call.
RowMap check(const LinearParams& params, const TensorView& out, const ContextState& context);
RowMap check(const QkvParams& params, const TensorView& out, const ContextState& context);
RowMap check(const MlpParams& params, const TensorView& out, const ContextState& context);
RowMap check(const NormParams& params, const TensorView& out, const ContextState& context);
RowMap check(const ResidualAddParams& params, const TensorView& out, const ContextState& context);

// Throws for a tensor that has elements and no memory, or none that their type can lie in. Not part
// of check, since sizing and explaining need no memory.
void check_memory(const LinearParams& params, const TensorView& out);
void check_memory(const QkvParams& params, const TensorView& out);
void check_memory(const MlpParams& params, const TensorView& out);
void check_memory(const NormParams& params, const TensorView& out);
void check_memory(const ResidualAddParams& params, const TensorView& out);
// The same for one tensor.
void check_memory(const char* op, const char* argument, const TensorView& view);

// A plain weight matrix: rank 2, stride 1 in either dimension, on the context's device.
void check_matrix(const char* op, const char* argument, const TensorView& matrix, Device device);

// N and K of either kind of weight.
std::int64_t out_features(const WeightRef& weight);
std::int64_t in_features(const WeightRef& weight);

}  // namespace detail
}  // namespace postlude
