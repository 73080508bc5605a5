// A C99 program that calls every op once, on numbers whose results are exact.
#include <stdio.h>
#include <string.h>

#include "postlude/postlude.h"

static int failures = 0;

static void expect(int condition, const char* what) {
  if (condition) return;
  ++failures;
  fprintf(stderr, "failed: %s (last error: %s)\n", what, postlude_last_error());
}

static void expect_values(const float* got, const float* expected, int count, const char* what) {
  int i;
  for (i = 0; i < count; ++i) {
    if (got[i] == expected[i]) continue;
    ++failures;
    fprintf(stderr, "failed: %s, element %d: expected %g, got %g\n", what, i, expected[i], got[i]);
  }
}

// A compact float tensor on the CPU.
static postlude_tensor floats(float* data, int32_t ndim, int64_t* shape) {
  postlude_tensor tensor;
  memset(&tensor, 0, sizeof tensor);
  tensor.data = data;
  tensor.device.device_type = POSTLUDE_CPU;
  tensor.ndim = ndim;
  tensor.dtype.code = 2;
  tensor.dtype.bits = 32;
  tensor.dtype.lanes = 1;
  tensor.shape = shape;
  return tensor;
}

static int64_t rows_of_two[] = {2, 2}, two[] = {2};
static float x_data[] = {1, 2, 3, 4}, eye_data[] = {1, 0, 0, 1}, bias_data[] = {10, -10};
static float out_data[4];
static postlude_tensor x, eye, bias, out;

static void test_linear(postlude_context* context) {
  const float expected[] = {11, 0, 13, 0};  // relu(x + bias)
  postlude_linear_params params;
  size_t bytes = 0;
  char* plan = NULL;
  postlude_linear_params_init(&params, sizeof params);
  params.x = &x;
  params.weight = &eye;
  params.bias = &bias;
  params.activation = POSTLUDE_RELU;
  expect(!postlude_linear_workspace_size(&params, &out, context, &bytes), "linear: sizing");
  expect(!postlude_context_reserve(context, bytes), "linear: reserve");
  expect(!postlude_linear(&params, &out, context), "linear");
  expect_values(out_data, expected, 4, "linear");
  expect(!postlude_linear_explain(&params, &out, context, &plan), "linear: explain");
  expect(plan != NULL && strstr(plan, "relu") != NULL, "linear: the plan names the activation");
  postlude_free_text(plan);
}

static void test_prepared_weight(postlude_context* context) {
  const float expected[] = {1, 2, 3, 4};
  float back_data[4];
  const postlude_tensor back = floats(back_data, 2, rows_of_two);
  postlude_linear_params params;
  postlude_weight* weight = NULL;
  size_t bytes = 0;
  expect(!postlude_pack_weight(&eye, NULL, context, &weight), "pack_weight");
  postlude_linear_params_init(&params, sizeof params);
  params.x = &x;
  params.prepared_weight = weight;
  expect(!postlude_linear_workspace_size(&params, &out, context, &bytes), "packed: sizing");
  expect(!postlude_context_reserve(context, bytes), "packed: reserve");
  expect(!postlude_linear(&params, &out, context), "packed: linear");
  expect_values(out_data, expected, 4, "packed: linear");
  expect(!postlude_weight_unpack(weight, &back, context), "unpack");
  expect_values(back_data, eye_data, 4, "unpack");
  postlude_weight_destroy(weight);
}

static void test_qkv(postlude_context* context) {
  const float expected[] = {11, -8, 13, -6};
  postlude_qkv_params params;
  size_t bytes = 0;
  postlude_qkv_params_init(&params, sizeof params);
  params.x = &x;
  params.weight = &eye;
  params.bias = &bias;
  expect(!postlude_qkv_workspace_size(&params, &out, context, &bytes), "qkv: sizing");
  expect(!postlude_context_reserve(context, bytes), "qkv: reserve");
  expect(!postlude_qkv(&params, &out, context), "qkv");
  expect_values(out_data, expected, 4, "qkv");
}

static void test_mlp(postlude_context* context) {
  const float expected[] = {12, 2, 16, 4};  // x + relu(x + bias)
  postlude_mlp_params params;
  size_t bytes = 0;
  postlude_mlp_params_init(&params, sizeof params);
  params.x = &x;
  params.weight_in = &eye;
  params.weight_out = &eye;
  params.bias_in = &bias;
  params.activation = POSTLUDE_RELU;
  expect(!postlude_mlp_workspace_size(&params, &out, context, &bytes), "mlp: sizing");
  expect(!postlude_context_reserve(context, bytes), "mlp: reserve");
  expect(!postlude_mlp(&params, &out, context), "mlp");
  expect_values(out_data, expected, 4, "mlp");
}

static void test_normalize(postlude_context* context) {
  const float expected[] = {-1, 1, -1, 1};  // rows whose variance is 1/4
  postlude_norm norm;
  postlude_norm_params params;
  size_t bytes = 0;
  postlude_norm_init(&norm, sizeof norm);
  norm.kind = POSTLUDE_LAYER_NORM;
  postlude_norm_params_init(&params, sizeof params);
  params.x = &x;
  params.norm = &norm;
  expect(!postlude_normalize_workspace_size(&params, &out, context, &bytes), "norm: sizing");
  expect(!postlude_context_reserve(context, bytes), "norm: reserve");
  expect(!postlude_normalize(&params, &out, context), "norm");
  expect_values(out_data, expected, 4, "norm");
}

static void test_residual_add(postlude_context* context) {
  const float expected[] = {7, -2, 11, 2};  // x + (x + bias) / 2 of 2 ranks, plus 0.5 a row
  float hidden_data[] = {1.5f, 2, 4.5f, 5};
  const postlude_tensor hidden = floats(hidden_data, 2, rows_of_two);
  postlude_residual_add_params params;
  size_t bytes = 0;
  postlude_residual_add_params_init(&params, sizeof params);
  params.hidden_state = &hidden;
  params.residual = &x;
  params.final_bias = &bias;
  params.mp_size = 2;
  expect(!postlude_residual_add_workspace_size(&params, &out, context, &bytes), "add: sizing");
  expect(!postlude_context_reserve(context, bytes), "add: reserve");
  expect(!postlude_residual_add(&params, &out, context), "residual_add");
  expect_values(out_data, expected, 4, "residual_add");
}

static void test_errors(postlude_context* context) {
  postlude_linear_params params;
  postlude_linear_params_init(&params, sizeof params);
  params.x = &x;
  expect(postlude_linear(&params, &out, context) == POSTLUDE_INVALID_ARGUMENT, "no weight");
  expect(strstr(postlude_last_error(), "[linear] weight: expected") != NULL, "its text");
  expect(postlude_linear(NULL, &out, context) == POSTLUDE_INVALID_ARGUMENT, "no params");
  expect(postlude_linear(&params, &out, NULL) == POSTLUDE_INVALID_ARGUMENT, "no context");
}

int main(void) {
  postlude_context* context = NULL;
  x = floats(x_data, 2, rows_of_two);
  eye = floats(eye_data, 2, rows_of_two);
  bias = floats(bias_data, 1, two);
  out = floats(out_data, 2, rows_of_two);
  if (postlude_context_create(POSTLUDE_CPU, 0, NULL, &context) != POSTLUDE_OK) {
    fprintf(stderr, "%s\n", postlude_last_error());
    return 1;
  }
  test_linear(context);
  test_prepared_weight(context);
  test_qkv(context);
  test_mlp(context);
  test_normalize(context);
  test_residual_add(context);
  test_errors(context);
  postlude_context_destroy(context);
  if (failures == 0) printf("every call gave what it should, postlude %s\n", postlude_version());
  return failures == 0 ? 0 : 1;
}
