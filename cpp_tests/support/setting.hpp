// Setting: the device and dtype that a parameterised test runs with, and how a call is made on it.
#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "postlude/postlude.hpp"
#include "support/api.hpp"
#include "support/device.hpp"
#include "support/tensor.hpp"

namespace postlude {
namespace test {

struct Setting {
  Device device;
  DType dtype = DType::f32;
};

inline const char* short_name(DType dtype) {
  return dtype == DType::f32    ? "f32"
         : dtype == DType::bf16 ? "bf16"
         : dtype == DType::f16  ? "f16"
                                : "i8";
}

inline std::string describe(const Setting& setting) {
  return (setting.device.type == DeviceType::cpu ? "cpu_" : "cuda_") +
         std::string(short_name(setting.dtype));
}
// GoogleTest's way of printing a parameter.
inline void PrintTo(const Setting& setting, std::ostream* out) { *out << describe(setting); }

inline std::string setting_name(const ::testing::TestParamInfo<Setting>& info) {
  return describe(info.param);
}

// Every device with every float dtype.
inline std::vector<Setting> settings() {
  std::vector<Setting> result;
  for (const Device& device : devices()) {
    for (DType dtype : {DType::f32, DType::bf16, DType::f16}) result.push_back({device, dtype});
  }
  return result;
}

// A fixture that knows its device and dtype and makes tensors there.
class SettingTest : public ::testing::TestWithParam<Setting> {
 protected:
  Device device() const { return GetParam().device; }
  DType dtype() const { return GetParam().dtype; }

  Tensor normal(Layout layout, double scale = 1.0, double mean = 0.0) {
    return randn(device(), dtype(), std::move(layout), random_, scale, mean);
  }
  Tensor normal_f32(Layout layout, double scale = 1.0, double mean = 0.0) {
    return randn(device(), DType::f32, std::move(layout), random_, scale, mean);
  }
  Tensor integers(Layout layout, std::int64_t limit, double density = 1.0) {
    return randint(device(), dtype(), std::move(layout), random_, limit, density);
  }
  Tensor empty(Layout layout) { return Tensor(device(), dtype(), std::move(layout)); }

  Random random_{1};
};

#define POSTLUDE_TEST_SUITE(fixture)                                                     \
  INSTANTIATE_TEST_SUITE_P(, fixture, ::testing::ValuesIn(::postlude::test::settings()), \
                           ::postlude::test::setting_name)

// Calls the op of these params with as much workspace as it asks for, and waits for it.
template <class Params>
void run(const Params& params, const TensorView& out, Context& context) {
  context.reserve(api::workspace_size(params, out, context));
  api::call(params, out, context);
  synchronize(context.device());
}
template <class Params>
void run(const Params& params, const TensorView& out) {
  Context context(out.device());
  run(params, out, context);
}

}  // namespace test
}  // namespace postlude
