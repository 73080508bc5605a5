// Prints, as JSON, the microseconds of small CPU calls: bare oneDNN products, and the same through
// Postlude's C++ API.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dnnl.hpp"
#include "postlude/postlude.hpp"

namespace {

constexpr std::int64_t kHidden = 64;
constexpr std::int64_t kIntermediate = 256;

// Median microseconds a call over batches of calls, after one batch that does not count.
double microseconds(const std::function<void()>& call) {
  constexpr int batches = 41, calls = 500;
  std::vector<double> times;
  for (int batch = 0; batch < batches; ++batch) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) call();
    const std::chrono::duration<double, std::micro> spent =
        std::chrono::steady_clock::now() - start;
    if (batch > 0) times.push_back(spent.count() / calls);
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

// The bare product (1, k) x (n, k)^T + bias: nothing but one prepared oneDNN primitive. A packed
// weight has the layout that oneDNN chooses, a plain one is row-major.
double bare_product(std::int64_t k, std::int64_t n, bool packed) {
  using dnnl::memory;
  const auto f32 = memory::data_type::f32;
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const memory::desc x({1, k}, f32, memory::format_tag::ab);
  const memory::desc weight({k, n}, f32, packed ? memory::format_tag::any : memory::format_tag::ba);
  const memory::desc bias({1, n}, f32, memory::format_tag::ab);
  const memory::desc out({1, n}, f32, memory::format_tag::ab);
  const dnnl::matmul::primitive_desc description(engine, x, weight, bias, out);
  const dnnl::matmul product(description);
  std::unordered_map<int, memory> arguments;
  const std::pair<int, memory::desc> operands[] = {{DNNL_ARG_SRC, x},
                                                   {DNNL_ARG_WEIGHTS, description.weights_desc()},
                                                   {DNNL_ARG_BIAS, bias},
                                                   {DNNL_ARG_DST, out}};
  std::vector<std::vector<char>> storage;
  for (const auto& [which, desc] : operands) {
    storage.emplace_back(desc.get_size(), '\0');
    arguments.emplace(which, memory(desc, engine, storage.back().data()));
  }
  return microseconds([&] { product.execute(stream, arguments); });
}

// A row-major float tensor of zeros, and its view.
struct Tensor {
  Tensor(std::int64_t rows, std::int64_t columns)
      : data(static_cast<std::size_t>(rows * columns)),
        view(data.data(), postlude::DType::f32, {rows, columns}) {}
  explicit Tensor(std::int64_t size)
      : data(static_cast<std::size_t>(size)), view(data.data(), postlude::DType::f32, {size}) {}
  std::vector<float> data;
  postlude::TensorView view;
};

// postlude::linear on a plain weight with a bias.
double linear_call() {
  const Tensor x(1, kHidden), weight(kHidden, kHidden), bias(kHidden), out(1, kHidden);
  postlude::LinearParams params;
  params.x = x.view;
  params.weight = weight.view;
  params.epilogue.bias = bias.view;
  postlude::Context context;
  context.reserve(postlude::workspace_size(params, out.view, context));
  return microseconds([&] { postlude::linear(params, out.view, context); });
}

// A bound postlude::Mlp with LayerNorm, GELU, biases and residual.
double mlp_call() {
  const Tensor x(1, kHidden), weight_in(kIntermediate, kHidden), weight_out(kHidden, kIntermediate);
  const Tensor bias_in(kIntermediate), bias_out(kHidden), gain(kHidden), shift(kHidden);
  const Tensor out(1, kHidden);
  postlude::MlpParams params;
  params.weight_in = weight_in.view;
  params.weight_out = weight_out.view;
  params.bias_in = bias_in.view;
  params.bias_out = bias_out.view;
  params.activation = postlude::Activation::gelu_erf;
  params.norm = postlude::Norm::layer(gain.view, shift.view, 1e-12f);
  postlude::Context context;
  const postlude::Mlp mlp(params, postlude::Binding::pack, context);
  const postlude::MlpActivations activations{x.view, {}, {}, {}, {}, {}};
  context.reserve(postlude::workspace_size(mlp.with(activations), out.view, context));
  return microseconds([&] { mlp(activations, out.view, context); });
}

}  // namespace

int main() {
  const double linear_kernel = bare_product(kHidden, kHidden, false);
  const double mlp_kernels =
      bare_product(kHidden, kIntermediate, true) + bare_product(kIntermediate, kHidden, true);
  std::printf("{\"linear_kernel\": %.3f, \"linear_cpp\": %.3f, ", linear_kernel, linear_call());
  std::printf("\"mlp_kernels\": %.3f, \"mlp_cpp\": %.3f}\n", mlp_kernels, mlp_call());
  return 0;
}
