// A gated MLP in C++: weights bound once, memory of the caller, one call for each batch.
#include <cstdio>
#include <vector>

#include "postlude/postlude.hpp"

int main() {
  using postlude::DType;
  using postlude::TensorView;
  const std::int64_t tokens = 1, hidden = 4, intermediate = 2;
  std::vector<float> weight_in = {1, 0, 0, 0, 0, 1, 0, 0,   // gate: the first two inputs
                                  0, 0, 1, 0, 0, 0, 0, 1};  // up: the last two
  std::vector<float> weight_out = {1, 0, 0, 1, 1, 0, 0, 1};
  std::vector<float> x = {1, 2, 2, 1}, out(4);

  postlude::MlpParams params;
  params.weight_in = TensorView(weight_in.data(), DType::f32, {2 * intermediate, hidden});
  params.weight_out = TensorView(weight_out.data(), DType::f32, {hidden, intermediate});
  params.activation = postlude::Activation::relu;
  params.gated = true;

  postlude::Context context;  // the CPU; one for each thread
  const postlude::Mlp mlp(params, postlude::Binding::pack, context);

  postlude::MlpActivations activations;
  activations.x = TensorView(x.data(), DType::f32, {tokens, hidden});
  const TensorView y(out.data(), DType::f32, {tokens, hidden});
  context.reserve(workspace_size(mlp.with(activations), y, context));
  mlp(activations, y, context);  // y = x + (relu(gate) * up) weight_out^T

  std::printf("out = %g %g %g %g\n", out[0], out[1], out[2], out[3]);
}
