// linear on views: ranks, zero and negative strides, leading dimensions that do not collapse,
// aliases and huge strides.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <vector>

#include "support/compare.hpp"
#include "support/setting.hpp"

namespace postlude {
namespace test {
namespace {

using LinearViewTest = SettingTest;
POSTLUDE_TEST_SUITE(LinearViewTest);

// linear without epilogue fields but a residual, on any views.
void check_product(const Tensor& x, const Tensor& weight, const Tensor& residual,
                   const Tensor& out) {
  LinearParams p;
  p.x = x;
  p.weight = weight.view();
  p.epilogue.residual = residual;
  reference::Epilogue e;
  e.residual = residual.matrix();
  const reference::Matrix expected = reference::linear(x.matrix(), weight.matrix(), e);
  ASSERT_NO_THROW(run(p, out));
  EXPECT_TRUE(exact(out, expected));
  EXPECT_TRUE(x.unchanged() && weight.unchanged() && residual.unchanged());
  EXPECT_TRUE(out.canaries_intact());
}

TEST_P(LinearViewTest, OneDimensionIsOneRow) {
  check_product(integers({{33}, {}, 0}, 2), integers({{65, 33}, {}, 0}, 2), {},
                empty({{65}, {}, 0}));
}

TEST_P(LinearViewTest, SizeOneDimensionsMayHaveAnyStride) {
  // x (3, 1) with inner stride 5; weight (4, 1) with strides (1, 9) and (7, 3); out (3, 1, 4) with
  // a wild middle stride.
  const Tensor x = integers({{3, 1}, {2, 5}, 0}, 2);
  check_product(x, integers({{4, 1}, {1, 9}, 0}, 2), {}, empty({{3, 4}, {}, 0}));
  check_product(x, integers({{4, 1}, {7, 3}, 0}, 2), {}, empty({{3, 4}, {}, 0}));
  check_product(integers({{3, 1, 6}, {6, 1000, 1}, 0}, 2), integers({{4, 6}, {}, 0}, 2), {},
                empty({{3, 1, 4}, {4, -77, 1}, 0}));
  check_product(integers({{3, 6}, {}, 0}, 2), integers({{1, 6}, {3, 1}, 0}, 2), {},
                empty({{3, 1}, {1, 8}, 0}));
}

TEST_P(LinearViewTest, ZeroRowStrideRepeatsARow) {
  check_product(integers({{7, 33}, {0, 1}, 0}, 2), integers({{65, 33}, {}, 0}, 2),
                integers({{7, 65}, {0, 1}, 0}, 2), empty({{7, 65}, {}, 0}));
}

TEST_P(LinearViewTest, NegativeRowStrideReversesRows) {
  check_product(integers({{7, 33}, {-33, 1}, 0}, 2), integers({{65, 33}, {}, 0}, 2),
                integers({{7, 65}, {-70, 1}, 0}, 2), empty({{7, 65}, {}, 0}));
}

TEST_P(LinearViewTest, RowStrideShorterThanARow) {
  // Overlapping windows over one signal.
  check_product(integers({{9, 33}, {4, 1}, 0}, 2), integers({{16, 33}, {}, 0}, 2), {},
                empty({{9, 16}, {}, 0}));
}

TEST_P(LinearViewTest, LeadingDimensionsThatDoNotCollapse) {
  const std::int64_t b = 2, s = 5, h = 3, k = 33, n = 20;
  const Tensor weight = integers({{n, k}, {}, 0}, 2);
  const Tensor swapped = integers({{b, s, k}, {k, b * k, 1}, 0}, 2);
  const Tensor gap = integers({{b, s, k}, {s * k + 11, k, 1}, 0}, 2);
  const Tensor deep = integers({{b, h, s, k}, {s * h * k, k, h * k, 1}, 0}, 2);
  check_product(swapped, weight, {}, empty({{b, s, n}, {}, 0}));
  check_product(gap, weight, integers({{b, s, n}, {n, b * n, 1}, 0}, 2), empty({{b, s, n}, {}, 0}));
  check_product(gap, weight, {}, empty({{b, s, n}, {n, b * n, 1}, 0}));
  check_product(swapped, weight, {}, empty({{b, s, n}, {s * n + 7, n, 1}, 0}));
  check_product(deep, weight, {}, empty({{b, h, s, n}, {}, 0}));
  check_product(deep, weight, {}, empty({{b, h, s, n}, {s * h * n, n, h * n, 1}, 0}));
}

// Found by fuzz/c_interface.cpp: UndefinedBehaviorSanitizer wants no steps from a null pointer.
TEST_P(LinearViewTest, SlabsOfNothing) {
  Tensor out = empty({{3, 2, 5}, {20, 5, 1}, 0});
  LinearParams p;
  p.x = TensorView(nullptr, dtype(), {3, 2, 0}, {9, 4, 1}, device());
  p.weight = TensorView(nullptr, dtype(), {5, 0}, device());
  ASSERT_NO_THROW(run(p, out));
  EXPECT_EQ(out.get(), std::vector<double>(30, 0.0));
  Tensor few = empty({{2, 5}, {}, 0});
  p.x = TensorView(nullptr, dtype(), {2, 0}, {-3, 1}, device());
  p.weight = TensorView(nullptr, dtype(), {5, 0}, {-2, 1}, device());
  ASSERT_NO_THROW(run(p, few));
  EXPECT_EQ(few.get(), std::vector<double>(10, 0.0));
}

TEST_P(LinearViewTest, RowVectorsFollowLeadingDimensionsThatDoNotCollapse) {
  const std::int64_t b = 3, s = 5, k = 33, n = 20, m = b * s;
  const Tensor x = integers({{b, s, k}, {k, b * k, 1}, 0}, 2),
               weight = integers({{n, k}, {}, 0}, 2);
  const Tensor row_scale = randint(device(), DType::f32, {{m}, {}, 0}, random_, 4);
  const Tensor row_mean = randint(device(), DType::f32, {{m}, {}, 0}, random_, 4);
  const Tensor col_sum = randint(device(), DType::f32, {{n}, {}, 0}, random_, 4);
  const Tensor out = empty({{b, s, n}, {}, 0});
  reference::Epilogue e;
  e.row_scale = row_scale.vector();
  e.row_mean = row_mean.vector();
  e.col_sum = col_sum.vector();
  LinearParams p;
  p.x = x;
  p.weight = weight.view();
  p.epilogue.row_scale = row_scale;
  p.epilogue.row_mean = row_mean;
  p.epilogue.col_sum = col_sum;
  run(p, out);
  EXPECT_TRUE(exact(out, reference::linear(x.matrix(), weight.matrix(), e)));
  const Tensor one = randint(device(), DType::f32, {{1}, {}, 0}, random_, 4);
  p.epilogue.row_scale = one;
  e.row_scale = one.vector();
  run(p, out);
  EXPECT_TRUE(exact(out, reference::linear(x.matrix(), weight.matrix(), e))) << "one scale";
}

TEST_P(LinearViewTest, EightDimensions) {
  check_product(integers({{2, 1, 2, 1, 2, 1, 2, 9}, {}, 0}, 2), integers({{5, 9}, {}, 0}, 2), {},
                empty({{2, 1, 2, 1, 2, 1, 2, 5}, {}, 0}));
}

TEST_P(LinearViewTest, ColumnsOfTheStoredMatrix) {
  // A weight that is a slice of a larger matrix, in either order.
  check_product(integers({{7, 33}, {}, 0}, 2), integers({{20, 33}, {100, 1}, 3}, 2), {},
                empty({{7, 20}, {}, 0}));
  check_product(integers({{7, 33}, {}, 0}, 2), integers({{20, 33}, {1, 100}, 3}, 2), {},
                empty({{7, 20}, {}, 0}));
}

TEST_P(LinearViewTest, OutMayBeTheResidual) {
  for (std::int64_t pad : {0, 3}) {
    const Tensor x = integers(padded({33, 65}, pad), 2);
    const Tensor weight = integers({{127, 65}, {}, 0}, 2);
    const Tensor both = integers(padded({33, 127}, pad), 2);
    reference::Epilogue e;
    e.residual = both.matrix();
    e.alpha = 0.5;
    const reference::Matrix expected = reference::linear(x.matrix(), weight.matrix(), e);
    LinearParams p;
    p.x = x;
    p.weight = weight.view();
    p.epilogue.residual = both;
    p.epilogue.alpha = 0.5f;
    run(p, both);
    EXPECT_TRUE(exact(both, expected)) << "pad " << pad;
    EXPECT_TRUE(both.canaries_intact());
  }
}

TEST_P(LinearViewTest, OutMayBeXWhoseLeadingDimensionsDoNotCollapse) {
  const std::int64_t b = 3, s = 5, k = 33;
  const Tensor both = integers({{b, s, k}, {k, b * k + 7, 1}, 0}, 2);
  const Tensor weight = integers({{k, k}, {}, 0}, 2);
  const reference::Matrix expected = reference::linear(both.matrix(), weight.matrix(), {});
  LinearParams p;
  p.x = both;
  p.weight = weight.view();
  run(p, both);
  EXPECT_TRUE(exact(both, expected));
  EXPECT_TRUE(both.canaries_intact());
}

TEST_P(LinearViewTest, OutMayBeX) {
  for (std::int64_t m : {1, 7, 130}) {
    for (std::int64_t size : {33, 300}) {
      for (bool gated : {false, true}) {
        const Tensor both = integers(padded({m, size}, 2), 2);
        const Tensor weight = integers({{gated ? 2 * size : size, size}, {}, 0}, 2);
        reference::Epilogue e;
        e.gated = gated;
        e.residual = both.matrix();
        const reference::Matrix expected = reference::linear(both.matrix(), weight.matrix(), e);
        LinearParams p;
        p.x = both;
        p.weight = weight.view();
        p.epilogue.gated = gated;
        p.epilogue.residual = both;
        run(p, both);
        EXPECT_TRUE(exact(both, expected)) << m << " rows of " << size << (gated ? ", gated" : "");
        EXPECT_TRUE(both.canaries_intact());
      }
    }
  }
}

// Two rows that lie more than 2^31 elements apart, in memory of which only a few pages are ever
// touched.
class FarRows {
 public:
  FarRows(DType dtype, std::int64_t cols) : dtype_(dtype), cols_(cols) {
    bytes_ = static_cast<std::size_t>(stride + cols) * size_of(dtype);
    void* data = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    data_ = data == MAP_FAILED ? nullptr : static_cast<char*>(data);
  }
  ~FarRows() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  FarRows(const FarRows&) = delete;
  FarRows& operator=(const FarRows&) = delete;

  bool mapped() const { return data_ != nullptr; }
  TensorView view() const { return TensorView(data_, dtype_, {2, cols_}, {stride, 1}); }
  void write(const Tensor& rows) {
    const std::vector<std::uint8_t> bits = rows.bits();
    for (int r = 0; r < 2; ++r) std::memcpy(row(r), bits.data() + r * row_bytes(), row_bytes());
  }
  std::vector<std::uint8_t> bits() const {
    std::vector<std::uint8_t> result(2 * row_bytes());
    for (int r = 0; r < 2; ++r) std::memcpy(result.data() + r * row_bytes(), row(r), row_bytes());
    return result;
  }

 private:
  static constexpr std::int64_t stride = (std::int64_t{1} << 31) + 64;
  std::size_t row_bytes() const { return static_cast<std::size_t>(cols_) * size_of(dtype_); }
  char* row(int r) const { return data_ + static_cast<std::size_t>(r * stride) * size_of(dtype_); }

  DType dtype_;
  std::int64_t cols_;
  std::size_t bytes_ = 0;
  char* data_ = nullptr;
};

TEST_P(LinearViewTest, AddressesAre64Bit) {
  if (device().type != DeviceType::cpu) GTEST_SKIP() << "needs memory that is reserved, not used";
  const std::int64_t k = 65, n = 2;
  const Tensor x = integers({{2, k}, {}, 0}, 2), weight = integers({{n, k}, {}, 0}, 2);
  const Tensor residual = integers({{2, n}, {}, 0}, 2);
  Tensor out = empty({{2, n}, {}, 0});
  reference::Epilogue e;
  e.residual = residual.matrix();
  out.set(reference::linear(x.matrix(), weight.matrix(), e).values);  // exact: small integers
  FarRows far_x(dtype(), k), far_weight(dtype(), k), far_residual(dtype(), n), far_out(dtype(), n);
  if (!far_x.mapped() || !far_weight.mapped() || !far_residual.mapped() || !far_out.mapped()) {
    GTEST_SKIP() << "this machine does not give 8 GB of address space";
  }
  far_x.write(x);
  far_weight.write(weight);
  far_residual.write(residual);
  LinearParams p;
  p.x = far_x.view();
  p.weight = far_weight.view();
  p.epilogue.residual = far_residual.view();
  run(p, far_out.view());
  EXPECT_EQ(far_out.bits(), out.bits());
  Context context(device());
  const Weight packed = api::pack_weight(far_weight.view(), {}, context);
  p.weight = packed;
  run(p, far_out.view(), context);
  EXPECT_EQ(far_out.bits(), out.bits()) << "packed";
  // A few rows may take another way than many.
  const Tensor many = integers({{70, k}, {}, 0}, 2), many_out = empty({{70, n}, {}, 0});
  p.x = many;
  p.weight = far_weight.view();
  p.epilogue.residual = {};
  run(p, many_out, context);
  EXPECT_TRUE(exact(many_out, reference::linear(many.matrix(), weight.matrix(), {})))
      << "many rows";
}

}  // namespace
}  // namespace test
}  // namespace postlude
