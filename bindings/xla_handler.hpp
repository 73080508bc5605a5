// The functions that XLA calls for an op of a compiled program: one for each op and kind of device.
#pragma once

#include <cstddef>

#include "postlude/tensor_view.hpp"
#include "xla_abi.hpp"

namespace postlude {
namespace python {
namespace xla {

// The handler of request_ops[op]. Arguments and results are dense buffers. Its attributes are the
// options of Request, and
// - "inputs" and "outputs": the names of the arguments and of the results, with commas between;
// - "rank": the rank of the first argument. Where it has more dimensions, vmap has put them ahead
//   of those of every argument and result: of an argument that it does not map, with size 1;
// - "stored": "out_in", or "in_out" where the matrices lie in memory as [in, out].
// It runs on XLA's stream, takes its workspace from XLA on a GPU, and touches no Python.
Handler* handler_of(std::size_t op, DeviceType device);

}  // namespace xla
}  // namespace python
}  // namespace postlude
