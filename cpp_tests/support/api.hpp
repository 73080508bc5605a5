// The calls that the suites make: of the C++ interface, or of the C interface where
// POSTLUDE_TEST_API=c.
#pragma once

#include <cstddef>
#include <string>

#include "postlude/postlude.hpp"

namespace postlude {
namespace test {
namespace api {

// Whether POSTLUDE_TEST_API=c is set. The functions below throw the same exceptions either way.
bool through_c();
// Calls of the C interface so far.
std::size_t calls_through_c();

void call(const LinearParams& params, const TensorView& out, Context& context);
void call(const QkvParams& params, const TensorView& out, Context& context);
void call(const MlpParams& params, const TensorView& out, Context& context);
void call(const NormParams& params, const TensorView& out, Context& context);
void call(const ResidualAddParams& params, const TensorView& out, Context& context);

std::size_t workspace_size(const LinearParams& params, const TensorView& out, const Context& c);
std::size_t workspace_size(const QkvParams& params, const TensorView& out, const Context& c);
std::size_t workspace_size(const MlpParams& params, const TensorView& out, const Context& c);
std::size_t workspace_size(const NormParams& params, const TensorView& out, const Context& c);
std::size_t workspace_size(const ResidualAddParams& params, const TensorView& out,
                           const Context& c);

std::string explain(const LinearParams& params, const TensorView& out, const Context& context);
std::string explain(const QkvParams& params, const TensorView& out, const Context& context);
std::string explain(const MlpParams& params, const TensorView& out, const Context& context);
std::string explain(const NormParams& params, const TensorView& out, const Context& context);
std::string explain(const ResidualAddParams& params, const TensorView& out, const Context& context);

Weight pack_weight(const TensorView& weight, const PackOptions& options, Context& context);
Weight quantize_weight(const TensorView& weight, const QuantizeOptions& options, Context& context);
Weight borrow_quantized(const TensorView& weight, const TensorView& scales, Grouping grouping);
void unpack(const Weight& weight, const TensorView& out, Context& context);

}  // namespace api
}  // namespace test
}  // namespace postlude
