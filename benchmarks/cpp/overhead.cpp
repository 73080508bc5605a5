// Times postlude::linear and a bound Mlp on the CPU: postlude_overhead [M N K [f32|bf16|f16]],
// medians in nanoseconds.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "postlude/postlude.hpp"

namespace {

using postlude::DType;
using postlude::TensorView;

// The median over enough calls to fill half a second, in nanoseconds.
template <class Call>
double median_ns(const Call& call) {
  using clock = std::chrono::steady_clock;
  for (int i = 0; i < 3; ++i) call();  // builds what is kept
  std::vector<double> times;
  const auto end = clock::now() + std::chrono::milliseconds(500);
  while (clock::now() < end || times.size() < 5) {
    const auto start = clock::now();
    call();
    times.push_back(std::chrono::duration<double, std::nano>(clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2),
                   times.end());
  return times[times.size() / 2];
}

// A matrix of zeros: neither of these ops is faster on zeros than on anything else.
class Matrix {
 public:
  Matrix(std::int64_t rows, std::int64_t cols, DType dtype)
      : bytes_(static_cast<std::size_t>(rows * cols) * size_of(dtype)),
        view_(bytes_.data(), dtype, {rows, cols}) {}
  const TensorView& view() const { return view_; }

 private:
  std::vector<unsigned char> bytes_;
  TensorView view_;
};

void report(const char* what, double ns, double flops) {
  std::printf("%-28s %12.0f ns %10.1f GFLOP/s\n", what, ns, flops / ns);
}

void run(std::int64_t m, std::int64_t n, std::int64_t k, DType dtype) {
  const Matrix x(m, k, dtype), weight(n, k, dtype), back(k, n, dtype), wide(m, n, dtype),
      out(m, k, dtype);
  postlude::Context context;
  std::printf("M %lld N %lld K %lld %s\n%s", static_cast<long long>(m), static_cast<long long>(n),
              static_cast<long long>(k), to_string(dtype), postlude::show_config().c_str());
  const double flops =
      2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);

  postlude::LinearParams linear;
  linear.x = x.view();
  linear.weight = weight.view();
  linear.epilogue.activation = postlude::Activation::gelu_tanh;
  context.reserve(workspace_size(linear, wide.view(), context));
  report("linear, plain weight", median_ns([&] { postlude::linear(linear, wide.view(), context); }),
         flops);

  postlude::LinearParams nothing =
      linear;  // what remains of a call when there is nothing to compute
  nothing.x = TensorView(nullptr, dtype, {0, k});
  const TensorView none(nullptr, dtype, {0, n});
  report("linear, no rows", median_ns([&] { postlude::linear(nothing, none, context); }), 0.0);

  postlude::MlpParams mlp;
  mlp.weight_in = weight.view();
  mlp.weight_out = back.view();
  mlp.activation = postlude::Activation::gelu_tanh;
  mlp.norm = postlude::Norm::layer({}, {}, 1e-5f);
  postlude::MlpActivations activations;
  activations.x = x.view();
  for (const auto binding : {postlude::Binding::reference, postlude::Binding::pack}) {
    const bool packed = binding == postlude::Binding::pack;
    const postlude::Mlp op(mlp, binding, context);
    context.reserve(workspace_size(op.with(activations), out.view(), context));
    report(packed ? "bound Mlp, packed weights" : "bound Mlp, plain weights",
           median_ns([&] { op(activations, out.view(), context); }), 2.0 * flops);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string dtype = argc > 4 ? argv[4] : "f32";
    if ((argc != 1 && argc != 4 && argc != 5) ||
        (dtype != "f32" && dtype != "bf16" && dtype != "f16")) {
      std::fprintf(stderr, "usage: %s [M N K [f32|bf16|f16]]\n", argv[0]);
      return 2;
    }
    const bool given = argc > 3;
    run(given ? std::atoll(argv[1]) : 1, given ? std::atoll(argv[2]) : 3072,
        given ? std::atoll(argv[3]) : 768,
        dtype == "f32"    ? DType::f32
        : dtype == "bf16" ? DType::bf16
                          : DType::f16);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
