// The executable specification: what every operation computes, in double and naive on purpose.
//
// Nothing here rounds: a result differs from the library's by that library's rounding alone. An
// absent argument is an empty vector or matrix. Matrices are row-major.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "postlude/postlude.hpp"

namespace postlude {
namespace reference {

using Vector = std::vector<double>;

struct Matrix {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  Vector values;
  bool present = false;

  Matrix() = default;
  Matrix(std::int64_t rows_, std::int64_t cols_)
      : Matrix(rows_, cols_, Vector(static_cast<std::size_t>(rows_ * cols_))) {}
  Matrix(std::int64_t rows_, std::int64_t cols_, Vector values_)
      : rows(rows_), cols(cols_), values(std::move(values_)), present(true) {
    if (static_cast<std::int64_t>(values.size()) != rows * cols) {
      throw std::logic_error("reference::Matrix: the values do not fill the shape");
    }
  }
  double& operator()(std::int64_t i, std::int64_t j) {
    return values[static_cast<std::size_t>(i * cols + j)];
  }
  double operator()(std::int64_t i, std::int64_t j) const {
    return values[static_cast<std::size_t>(i * cols + j)];
  }
};

template <class Real = double>
Real at(const Vector& vector, std::int64_t i, Real absent) {
  if (vector.empty()) return absent;
  return static_cast<Real>(vector.size() == 1 ? vector[0] : vector[static_cast<std::size_t>(i)]);
}

template <class Real>
Real sigmoid(Real x) {
  return 1 / (1 + std::exp(-x));
}

// act(x), written so that no tail cancels; NaN and infinities as in PyTorch.
template <class Real>
Real activate(Activation activation, Real x) {
  constexpr Real sqrt_half = static_cast<Real>(0.70710678118654752440);
  constexpr Real sqrt_two_over_pi = static_cast<Real>(0.79788456080286535588);
  const Real positive = x < 0 ? 0 : x;  // keeps a NaN
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return positive;
    case Activation::gelu_erf:
      return x * (std::erfc(-x * sqrt_half) / 2);
    case Activation::gelu_tanh:  // (1 + tanh(u)) / 2 = sigmoid(2 u)
      return x * sigmoid(2 * sqrt_two_over_pi * (x + static_cast<Real>(0.044715) * x * x * x));
    case Activation::quick_gelu:
      return x * sigmoid(static_cast<Real>(1.702) * x);
    case Activation::silu:
      return x * sigmoid(x);
    case Activation::relu2:
      return positive * positive;
  }
  throw std::logic_error("reference::activate: unknown activation");
}

// The fields of postlude::Epilogue; Epilogue's header comment is the formula.
struct Epilogue {
  Vector row_scale, row_mean, col_scale, col_sum, bias;
  Activation activation = Activation::none;
  bool gated = false;
  GateLayout layout = GateLayout::gate_up;
  std::optional<float> clamp;
  Matrix residual;
  double alpha = 1.0;
};

// x (M, K), weight (N, K) -> out (M, N), or (M, N / 2) where gated. With Real = float the same
// formula is computed in everyday float, one term after the other: the yardstick for how far fp32
// can be from the truth.
template <class Real = double>
Matrix linear(const Matrix& x, const Matrix& weight, const Epilogue& e) {
  const std::int64_t outputs = e.gated ? weight.rows / 2 : weight.rows;
  const Real zero = 0, one = 1;
  const auto z = [&](std::int64_t m, std::int64_t n) {
    Real acc = 0;
    for (std::int64_t k = 0; k < x.cols; ++k) {
      acc += static_cast<Real>(x(m, k)) * static_cast<Real>(weight(n, k));
    }
    acc -= at(e.row_mean, m, zero) * at(e.col_sum, n, zero);
    return at(e.row_scale, m, one) * at(e.col_scale, n, one) * acc + at(e.bias, n, zero);
  };
  const std::int64_t gate_row = e.layout == GateLayout::gate_up ? 0 : outputs;
  const std::int64_t up_row = e.layout == GateLayout::gate_up ? outputs : 0;
  Matrix out(x.rows, outputs);
  for (std::int64_t m = 0; m < x.rows; ++m) {
    for (std::int64_t n = 0; n < outputs; ++n) {
      Real h;
      if (e.gated) {
        Real gate = z(m, gate_row + n), up = z(m, up_row + n);
        if (e.clamp) {
          const Real limit = static_cast<Real>(*e.clamp);
          gate = gate > limit ? limit : gate;
          up = up > limit ? limit : up < -limit ? -limit : up;
        }
        h = activate(e.activation, gate) * up;
      } else {
        h = activate(e.activation, z(m, n));
      }
      const Real residual = e.residual.present ? static_cast<Real>(e.residual(m, n)) : zero;
      out(m, n) = static_cast<double>(residual + static_cast<Real>(e.alpha) * h);
    }
  }
  return out;
}

// The fields of postlude::Norm.
struct Norm {
  NormKind kind = NormKind::none;
  Vector weight, bias;
  double eps = 0.0;
  double weight_offset = 0.0;
};

// norm(r), row by row.
inline Matrix normalise(const Matrix& r, const Norm& norm) {
  if (norm.kind == NormKind::none) return r;
  Matrix out(r.rows, r.cols);
  const double count = static_cast<double>(r.cols);
  for (std::int64_t m = 0; m < r.rows; ++m) {
    double mean = 0.0, square = 0.0;
    if (norm.kind == NormKind::layer) {
      for (std::int64_t j = 0; j < r.cols; ++j) mean += r(m, j) / count;
    }
    for (std::int64_t j = 0; j < r.cols; ++j) square += (r(m, j) - mean) * (r(m, j) - mean) / count;
    const double scale = 1.0 / std::sqrt(square + norm.eps);
    for (std::int64_t j = 0; j < r.cols; ++j) {
      const double weight = at(norm.weight, j, 1.0) + norm.weight_offset;
      out(m, j) = (r(m, j) - mean) * scale * weight + at(norm.bias, j, 0.0);
    }
  }
  return out;
}

// The sum of those present, element by element, plus a bias (cols,) to each row.
inline Matrix sum(const Matrix& first, const Matrix& second, const Vector& bias) {
  Matrix out = first;
  for (std::int64_t m = 0; m < out.rows; ++m) {
    for (std::int64_t j = 0; j < out.cols; ++j) {
      if (second.present) out(m, j) += second(m, j);
      out(m, j) += at(bias, j, 0.0);
    }
  }
  return out;
}

// norm(x) weight^T + bias.
inline Matrix qkv(const Matrix& x, const Matrix& weight, const Vector& bias, const Norm& norm) {
  Epilogue epilogue;
  epilogue.bias = bias;
  return linear(normalise(x, norm), weight, epilogue);
}

// The fields of MlpParams.
struct Mlp {
  Matrix x, weight_in, weight_out;
  Vector bias_in, bias_out;
  Activation activation = Activation::none;
  bool gated = false;
  GateLayout layout = GateLayout::gate_up;
  std::optional<float> clamp;
  Norm norm;
  Matrix residual;
  Vector input_bias;
  bool add_residual = true;
  Matrix parallel_residual;
};

struct MlpResult {
  Matrix out, residual, normed;
};

inline MlpResult mlp(const Mlp& p) {
  MlpResult result;
  result.residual = sum(p.x, p.residual, p.input_bias);
  result.normed = normalise(result.residual, p.norm);
  Epilogue in;
  in.bias = p.bias_in;
  in.activation = p.activation;
  in.gated = p.gated;
  in.layout = p.layout;
  in.clamp = p.clamp;
  Epilogue out;
  out.bias = p.bias_out;
  if (p.parallel_residual.present) {
    out.residual = p.parallel_residual;
  } else if (p.add_residual) {
    out.residual = result.residual;
  }
  result.out = linear(linear(result.normed, p.weight_in, in), p.weight_out, out);
  return result;
}

// h hidden_state, r residual, a attention_output, ba attention_bias, bf final_bias, p mp_size.
struct ResidualAdd {
  Matrix h, r, a;
  Vector ba, bf;
  ResidualForm form = ResidualForm::pre_ln;
  double p = 1.0;
};

inline Matrix residual_add(const ResidualAdd& in) {
  Matrix out(in.h.rows, in.h.cols);
  for (std::int64_t m = 0; m < out.rows; ++m) {
    for (std::int64_t j = 0; j < out.cols; ++j) {
      const double h = in.h(m, j), r = in.r(m, j), a = in.a.present ? in.a(m, j) : 0.0;
      const double ba = at(in.ba, j, 0.0), bf = at(in.bf, j, 0.0);
      switch (in.form) {
        case ResidualForm::pre_ln:
          out(m, j) = (r + a + ba + bf) / in.p + h;
          break;
        case ResidualForm::post_ln:
          out(m, j) = r + h + bf;
          break;
        case ResidualForm::parallel:
          out(m, j) = h + a + (r + ba + bf) / in.p;
          break;
      }
    }
  }
  return out;
}

// A symmetric int8 weight (N, K): scales (groups,) or (N, K / group_size), as QuantizeOptions'
// comment says.
struct Quantized {
  std::vector<std::int8_t> values;
  std::vector<float> scales;
};

// This one is pinned to the bit, so it computes in float. `weight` holds values that a float
// represents.
inline Quantized quantize(const Matrix& weight, const QuantizeOptions& options) {
  Quantized result;
  result.values.resize(weight.values.size());
  const bool rows = options.grouping == Grouping::rows;
  const std::int64_t per_group =
      rows ? weight.rows / options.groups * weight.cols : options.group_size;
  const std::int64_t total = static_cast<std::int64_t>(weight.values.size());
  for (std::int64_t first = 0; first < total; first += per_group) {
    float largest = 0.0f;
    for (std::int64_t i = first; i < first + per_group; ++i) {
      largest = std::fmax(
          largest, std::fabs(static_cast<float>(weight.values[static_cast<std::size_t>(i)])));
    }
    const float scale = largest / 127.0f;
    result.scales.push_back(scale);
    for (std::int64_t i = first; i < first + per_group; ++i) {
      const float w = static_cast<float>(weight.values[static_cast<std::size_t>(i)]);
      const float q = scale == 0.0f ? 0.0f : std::nearbyint(w / scale);  // half to even
      result.values[static_cast<std::size_t>(i)] =
          static_cast<std::int8_t>(std::fmin(std::fmax(q, -127.0f), 127.0f));
    }
  }
  return result;
}

// values * scale, in double.
inline Matrix dequantize(const Quantized& weight, std::int64_t rows, std::int64_t cols) {
  Matrix out(rows, cols);
  const std::size_t per_group =
      weight.scales.empty() ? 1 : weight.values.size() / weight.scales.size();
  for (std::size_t i = 0; i < weight.values.size(); ++i) {
    out.values[i] =
        static_cast<double>(weight.values[i]) * static_cast<double>(weight.scales[i / per_group]);
  }
  return out;
}

}  // namespace reference
}  // namespace postlude
