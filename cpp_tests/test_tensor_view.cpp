// TensorView: shapes, strides, what it refuses, and the way from and to DLPack's struct.
#include <gtest/gtest.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "postlude/postlude.hpp"

namespace postlude {
namespace test {
namespace {

// Members as in DLPack's dlpack.h, where device_type is an enum; no header of DLPack is needed.
enum LookalikeDeviceType {
  cpu_device = 1,
  cuda_device = 2,
  cuda_host_device = 3,
  opencl_device = 4
};
struct LookalikeDevice {
  LookalikeDeviceType device_type;
  std::int32_t device_id;
};
struct LookalikeDataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};
struct Lookalike {
  void* data;
  LookalikeDevice device;
  std::int32_t ndim;
  LookalikeDataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;
  std::uint64_t byte_offset;
};

std::string error_of(const Lookalike& tensor) {
  try {
    from_dlpack(tensor);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

class DlpackTest : public ::testing::Test {
 protected:
  alignas(8) unsigned char memory_[256] = {};
  std::int64_t shape_[3] = {2, 3, 4};
  std::int64_t strides_[3] = {24, 8, 1};
  Lookalike tensor_{memory_, {cpu_device, 0}, 3, {2, 32, 1}, shape_, strides_, 0};
};

TEST_F(DlpackTest, FromATensor) {
  const TensorView view = from_dlpack(tensor_);
  EXPECT_TRUE(static_cast<bool>(view));
  EXPECT_EQ(view.data(), memory_);
  EXPECT_EQ(view.dtype(), DType::f32);
  EXPECT_EQ(view.device(), Device{});
  EXPECT_EQ(view.rank(), 3);
  EXPECT_EQ(view.numel(), 24);
  for (int d = 0; d < 3; ++d) {
    EXPECT_EQ(view.size(d), shape_[d]);
    EXPECT_EQ(view.stride(d), strides_[d]);
  }
  EXPECT_EQ(view.size(-1), 4);
  EXPECT_EQ(view.stride(-3), 24);
}

TEST_F(DlpackTest, EveryDtype) {
  const struct {
    LookalikeDataType code;
    DType dtype;
  } known[] = {{{2, 32, 1}, DType::f32},
               {{4, 16, 1}, DType::bf16},
               {{2, 16, 1}, DType::f16},
               {{0, 8, 1}, DType::i8}};
  for (const auto& one : known) {
    tensor_.dtype = one.code;
    EXPECT_EQ(from_dlpack(tensor_).dtype(), one.dtype);
  }
}

TEST_F(DlpackTest, NullStridesMeanContiguousAndTheOffsetCountsBytes) {
  tensor_.strides = nullptr;
  tensor_.byte_offset = 12;
  const TensorView view = from_dlpack(tensor_);
  EXPECT_EQ(view.data(), memory_ + 12);
  EXPECT_EQ(view.stride(0), 12);
  EXPECT_EQ(view.stride(1), 4);
  EXPECT_EQ(view.stride(2), 1);
}

TEST_F(DlpackTest, Devices) {
  tensor_.device = {cuda_device, 3};
  EXPECT_EQ(from_dlpack(tensor_).device(), (Device{DeviceType::cuda, 3}));
  tensor_.device = {cuda_host_device, 3};
  EXPECT_EQ(from_dlpack(tensor_).device(), Device{}) << "pinned host memory is the CPU's";
}

TEST_F(DlpackTest, EmptyAndScalarTensors) {
  tensor_.data = nullptr;
  tensor_.byte_offset = 64;
  shape_[1] = 0;
  const TensorView empty = from_dlpack(tensor_);
  EXPECT_EQ(empty.data(), nullptr);
  EXPECT_EQ(empty.numel(), 0);
  EXPECT_TRUE(static_cast<bool>(empty)) << "empty is not absent";
  tensor_.ndim = 0;
  EXPECT_EQ(from_dlpack(tensor_).numel(), 1);
  EXPECT_TRUE(static_cast<bool>(from_dlpack(tensor_)));
}

TEST_F(DlpackTest, RefusesWhatItDoesNotHave) {
  EXPECT_EQ(error_of(tensor_), "");
  Lookalike t = tensor_;
  t.dtype = {2, 64, 1};
  EXPECT_NE(error_of(t).find("64 bits"), std::string::npos) << error_of(t);
  t.dtype = {1, 8, 1};
  EXPECT_NE(error_of(t).find("code 1"), std::string::npos) << error_of(t);
  t.dtype = {4, 32, 1};
  EXPECT_NE(error_of(t).find("dtype"), std::string::npos) << error_of(t);
  t.dtype = {2, 32, 4};
  EXPECT_NE(error_of(t).find("lane"), std::string::npos) << error_of(t);
  t = tensor_;
  t.device.device_type = opencl_device;
  EXPECT_NE(error_of(t).find("type 4"), std::string::npos) << error_of(t);
  std::int64_t many[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
  t = tensor_;
  t.ndim = 9;
  t.shape = many;
  t.strides = nullptr;
  EXPECT_NE(error_of(t).find("rank"), std::string::npos) << error_of(t);
  t = tensor_;
  t.ndim = -1;
  EXPECT_NE(error_of(t).find("rank"), std::string::npos) << error_of(t);
  t = tensor_;
  shape_[1] = -3;
  EXPECT_NE(error_of(t).find("-3"), std::string::npos) << error_of(t);
}

TEST_F(DlpackTest, ThereAndBack) {
  for (DType dtype : {DType::f32, DType::bf16, DType::f16, DType::i8}) {
    for (Device device : {Device{}, Device{DeviceType::cuda, 1}}) {
      const TensorView view(memory_, dtype, {2, 3}, {7, 1}, device);
      Lookalike out{};
      to_dlpack(view, out);
      EXPECT_EQ(out.dtype.lanes, 1);
      const TensorView back = from_dlpack(out);
      EXPECT_EQ(to_string(back), to_string(view));
      EXPECT_EQ(back.data(), view.data());
    }
  }
}

TEST(TensorView, ContiguousStrides) {
  const TensorView view(nullptr, DType::f16, {2, 3, 5});
  EXPECT_EQ(view.stride(0), 15);
  EXPECT_EQ(view.stride(1), 5);
  EXPECT_EQ(view.stride(2), 1);
  const TensorView empty(nullptr, DType::f16, {2, 0, 5});
  EXPECT_EQ(empty.numel(), 0);
  EXPECT_EQ(empty.stride(1), 5);
}

TEST(TensorView, AbsentAndScalar) {
  const TensorView absent, scalar(nullptr, DType::f32, {});
  EXPECT_FALSE(static_cast<bool>(absent));
  EXPECT_EQ(absent.numel(), 0);
  EXPECT_EQ(to_string(absent), "none");
  EXPECT_TRUE(static_cast<bool>(scalar));
  EXPECT_EQ(scalar.numel(), 1);
}

TEST(TensorView, CountsElementsIn64Bits) {
  const std::int64_t huge = std::int64_t{1} << 20;
  const TensorView view(nullptr, DType::f32, {huge, huge});
  EXPECT_EQ(view.numel(), std::int64_t{1} << 40);
  EXPECT_EQ(view.stride(0), huge);
}

TEST(TensorView, RefusesBadShapes) {
  const auto error = [](auto make) -> std::string {
    try {
      make();
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_NE(error([] { TensorView(nullptr, DType::f32, {2, -1}); }).find("-1"), std::string::npos);
  EXPECT_NE(error([] { TensorView(nullptr, DType::f32, {2, 3}, {1}); }).find("strides"),
            std::string::npos);
  const std::vector<std::int64_t> nine(9, 1);
  EXPECT_NE(error([&] { TensorView(nullptr, DType::f32, 9, nine.data(), nullptr); }).find("9"),
            std::string::npos);
}

TEST(TensorView, ItsText) {
  EXPECT_EQ(
      to_string(TensorView(nullptr, DType::bf16, {2, 3}, {7, 1}, Device{DeviceType::cuda, 2})),
      "bfloat16 (2, 3) strides (7, 1) on cuda:2");
  EXPECT_EQ(to_string(TensorView(nullptr, DType::f32, {4})), "float32 (4,) strides (1,) on cpu");
}

TEST(Device, EqualityIgnoresTheIndexOfACpu) {
  EXPECT_TRUE((Device{DeviceType::cpu, 0} == Device{DeviceType::cpu, 1}));
  EXPECT_TRUE((Device{DeviceType::cuda, 0} != Device{DeviceType::cuda, 1}));
  EXPECT_TRUE((Device{DeviceType::cuda, 0} != Device{}));
}

}  // namespace
}  // namespace test
}  // namespace postlude
