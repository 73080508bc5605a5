// MlpCase: one mlp call as a plain description, its tensors, and its check against the reference.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "cases.hpp"
#include "postlude/postlude.hpp"
#include "reference.hpp"
#include "support/setting.hpp"

namespace postlude {
namespace test {

enum class Residual { none, added, parallel };

struct MlpCase {
  MlpShape shape;
  Activation activation = Activation::gelu_tanh;
  bool gated = false;
  GateLayout layout = GateLayout::gate_up;
  std::optional<float> clamp;
  bool biases = false;
  bool f32_vectors = false;  // biases and norm weights in float
  NormKind norm = NormKind::none;
  float weight_offset = 0.0f;
  bool residual = false;
  bool input_bias = false;
  Residual add = Residual::added;
  bool residual_out = false;
  bool normed_out = false;
  bool packed = false;
  bool transposed = false;
  std::int64_t pad = 0;
  bool integers = false;  // exact, if there is no norm
};

std::string describe(const MlpCase& c, Setting setting);

// What a call should leave, and what everyday code, which stores the result of every step, makes of
// it.
struct MlpExpected {
  reference::MlpResult exact, plain;
};

class MlpTensors {
 public:
  MlpTensors(const MlpCase& c, Setting setting, Context& context);
  MlpParams params() const;
  MlpActivations activations() const;
  MlpExpected expected() const;
  bool canaries_intact() const;

  Tensor x, weight_in, weight_out, bias_in, bias_out, norm_weight, norm_bias, residual, input_bias;
  Tensor parallel_residual, residual_out, normed_out, out;

 private:
  reference::Mlp problem() const;

  MlpCase case_;
  Weight packed_in_, packed_out_;
};

// Runs the case and expects the promised accuracy of every output, and whole canaries.
void check_mlp(const MlpCase& c, Setting setting);
// Expects the accuracy of what a call, however it was made, left in the outputs.
void check_outputs(const MlpTensors& tensors, const MlpExpected& expected, bool integers = false);

}  // namespace test
}  // namespace postlude
