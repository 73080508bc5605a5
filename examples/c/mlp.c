// A gated MLP in C: weights packed once, memory of the caller, one call for each batch.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postlude/postlude.h"

// A compact float matrix in the host's memory.
static postlude_tensor matrix(float* data, int64_t* shape) {
  postlude_tensor tensor;
  memset(&tensor, 0, sizeof tensor);
  tensor.data = data;
  tensor.device.device_type = POSTLUDE_CPU;
  tensor.ndim = 2;
  tensor.dtype.code = 2;  // float
  tensor.dtype.bits = 32;
  tensor.dtype.lanes = 1;
  tensor.shape = shape;  // no strides: compact
  return tensor;
}

static void check(postlude_status status) {
  if (status == POSTLUDE_OK) return;
  fprintf(stderr, "%s: %s\n", postlude_status_name(status), postlude_last_error());
  exit(1);
}

int main(void) {
  // tokens 1, hidden 4, intermediate 2
  int64_t token[] = {1, 4}, in[] = {4, 4}, back[] = {4, 2};
  float weight_in_data[] = {1, 0, 0, 0, 0, 1, 0, 0,   // gate: the first two inputs
                            0, 0, 1, 0, 0, 0, 0, 1};  // up: the last two
  float weight_out_data[] = {1, 0, 0, 1, 1, 0, 0, 1};
  float x_data[] = {1, 2, 2, 1}, out_data[4];
  const postlude_tensor x = matrix(x_data, token), out = matrix(out_data, token);
  const postlude_tensor weight_in = matrix(weight_in_data, in);
  const postlude_tensor weight_out = matrix(weight_out_data, back);

  postlude_context* context;  // the CPU; one for each thread
  check(postlude_context_create(POSTLUDE_CPU, 0, NULL, &context));

  postlude_weight *packed_in, *packed_out;
  postlude_pack_options options;
  postlude_pack_options_init(&options, sizeof options);
  options.gated = 1;
  check(postlude_pack_weight(&weight_in, &options, context, &packed_in));
  check(postlude_pack_weight(&weight_out, NULL, context, &packed_out));

  postlude_mlp_params params;
  postlude_mlp_params_init(&params, sizeof params);
  params.prepared_weight_in = packed_in;
  params.prepared_weight_out = packed_out;
  params.activation = POSTLUDE_RELU;
  params.gated = 1;
  params.x = &x;

  size_t bytes;
  check(postlude_mlp_workspace_size(&params, &out, context, &bytes));
  check(postlude_context_reserve(context, bytes));
  check(postlude_mlp(&params, &out, context));  // out = x + (relu(gate) * up) weight_out^T

  printf("out = %g %g %g %g\n", out_data[0], out_data[1], out_data[2], out_data[3]);
  postlude_weight_destroy(packed_in);
  postlude_weight_destroy(packed_out);
  postlude_context_destroy(context);
  return 0;
}
