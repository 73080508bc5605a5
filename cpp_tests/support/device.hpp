// The devices that the suites run on, and the memory of each.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "postlude/tensor_view.hpp"

namespace postlude {
namespace test {

// The CPU, and GPU 0 where this is a CUDA build and there is one.
std::vector<Device> devices();
// Whether POSTLUDE_REQUIRE_GPU=1 is set: a missing GPU is then a failure.
bool gpu_required();

// Memory of the device aligned to 256 bytes; on the CPU an allocation of exactly that size.
std::shared_ptr<void> allocate(Device device, std::size_t bytes);
// Blocking copies, ordered after all work on the device.
void copy_to_device(Device device, void* to, const void* from, std::size_t bytes);
void copy_to_host(Device device, void* to, const void* from, std::size_t bytes);
void synchronize(Device device);

}  // namespace test
}  // namespace postlude
