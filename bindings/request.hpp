// Request: one call of an op whose tensors and options are given by their names in postlude.ops, as
// compilers of graphs pass them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "contexts.hpp"
#include "postlude/postlude.hpp"

namespace postlude {
namespace python {

// The ops by the order of their names; Request takes one of them.
inline constexpr std::array<std::string_view, 5> request_ops = {"linear", "qkv", "mlp", "norm",
                                                                "residual_add"};

// Whether an input is a weight matrix; one of [out, in] in rank 2.
bool is_matrix(std::string_view input);
// Whether an input is a bias or a weight of a norm, of rank 1.
bool is_vector(std::string_view input);

// "a,b" as its parts; "" has none.
std::vector<std::string_view> split(std::string_view names);

// Errors of all functions are std::invalid_argument with the op and the argument. Names and texts
// must outlive it.
class Request {
 public:
  explicit Request(std::string_view op);

  // An argument of the op. What a norm consists of is "norm.weight" and "norm.bias"; mlp's tensor
  // for add_residual is "parallel_residual". Outputs are "out", "residual_out" and "normed_out".
  void tensor(std::string_view name, const TensorView& view);
  // An option: activation, layout, form; norm ("layer" or "rms").
  void option(std::string_view name, std::string_view text);
  // alpha, clamp, eps, weight_offset, mp_size; flags as 0 and 1.
  void option(std::string_view name, double number);

  // The shape of an output. -1 columns where an input that decides them is no matrix.
  std::vector<std::int64_t> shape_of(std::string_view output) const;
  const ContextOptions& context_options() const { return context_; }
  // Throws what the call itself would throw for these shapes and dtypes; looks at no memory.
  std::size_t workspace_size(Context& context) const;
  void run(Context& context) const;

 private:
  struct Named {
    std::string_view name;
    TensorView view;
  };

  TensorView get(std::string_view name) const;
  Norm norm() const;
  LinearParams linear_params() const;
  QkvParams qkv_params() const;
  MlpParams mlp_params() const;
  NormParams norm_params() const;
  ResidualAddParams residual_add_params() const;
  [[noreturn]] void fail(std::string_view argument, const std::string& text) const;
  // function(op, params): the op's function and its params.
  template <class Function>
  void visit(Function&& function) const;

  std::string_view op_;
  std::array<Named, 16> tensors_;
  std::size_t count_ = 0;
  Activation activation_ = Activation::none;
  GateLayout layout_ = GateLayout::gate_up;
  NormKind norm_ = NormKind::none;
  ResidualForm form_ = ResidualForm::pre_ln;
  std::optional<float> clamp_;
  float alpha_ = 1.0f;
  float eps_ = 0.0f;
  float weight_offset_ = 0.0f;
  std::int64_t mp_size_ = 1;
  bool gated_ = false;
  bool add_residual_ = true;
  ContextOptions context_;
};

}  // namespace python
}  // namespace postlude
