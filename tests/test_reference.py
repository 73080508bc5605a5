"""The executable specification itself: against torch's functions, or by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from postlude import LayerNorm, RMSNorm, reference

BY_TORCH = {
    "relu": F.relu,
    "gelu_erf": F.gelu,
    "gelu": F.gelu,
    "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
    "gelu_new": lambda z: F.gelu(z, approximate="tanh"),
    "gelu_pytorch_tanh": lambda z: F.gelu(z, approximate="tanh"),
    "quick_gelu": lambda z: z * torch.sigmoid(1.702 * z),
    "silu": F.silu,
    "swish": F.silu,
    "relu2": lambda z: F.relu(z) ** 2,
    None: lambda z: z,
}


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def same(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", BY_TORCH)
def test_activation_is_that_of_torch(name):
    z = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    same(reference.activate(z, name), BY_TORCH[name](z))


def test_every_activation_is_compared():
    assert {*reference.ACTIVATIONS, *reference.ALIASES, None} == set(BY_TORCH)


@pytest.mark.parametrize(
    ("name", "tail"),
    [
        ("gelu_erf", 0.5 * math.erfc(10 / math.sqrt(2))),
        ("gelu_tanh", 1 / (1 + math.exp(2 * math.sqrt(2 / math.pi) * (10 + 0.044715 * 1000)))),
        ("quick_gelu", 1 / (1 + math.exp(17.02))),
        ("silu", 1 / (1 + math.exp(10))),
    ],
)
def test_negative_tail_does_not_cancel(name, tail):
    value = reference.activate(torch.tensor([-10.0], dtype=torch.float64), name).item()
    assert value == pytest.approx(-10 * tail, rel=1e-12)


def test_unknown_activation():
    with pytest.raises(ValueError, match="got 'tanh'"):
        reference.activate(torch.zeros(1), "tanh")


def test_linear_by_hand():
    x = torch.tensor([[1.0, 2.0], [-1.0, 0.5]])
    weight = torch.tensor([[1.0, 0.0], [0.0, -1.0], [2.0, 2.0]])
    bias = torch.tensor([0.0, 10.0, -1.0])
    assert reference.linear(x, weight, bias).tolist() == [[1.0, 8.0, 5.0], [-1.0, 9.5, -2.0]]
    out = reference.linear(x, weight, bias, activation="relu", residual=torch.ones(2, 3), alpha=2.0)
    assert out.tolist() == [[3.0, 17.0, 11.0], [1.0, 20.0, 1.0]]


def test_gate_takes_the_half_that_the_layout_names():
    x = torch.tensor([[3.0]])
    weight = torch.tensor([[-1.0], [2.0]])
    assert reference.linear(x, weight, activation="relu", gated=True).item() == 0.0
    up_first = reference.linear(x, weight, activation="relu", gated=True, layout="up_gate")
    assert up_first.item() == 6.0 * -3.0
    limited = reference.linear(x, torch.tensor([[1.0], [-2.0]]), gated=True, clamp=0.5)
    assert limited.item() == 0.5 * -0.5
    limited = reference.linear(x, torch.tensor([[-1.0], [2.0]]), gated=True, clamp=0.5)
    assert limited.item() == -3.0 * 0.5
    with pytest.raises(ValueError, match="layout"):
        reference.linear(x, weight, gated=True, layout="gate")


@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm_is_that_of_torch(bias):
    x, weight = random(3, 4, 7), random(7, seed=1)
    shift = random(7, seed=2) if bias else None
    expected = F.layer_norm(x, (7,), weight, shift, 1e-5)
    same(reference.norm(x, LayerNorm(weight, shift, 1e-5)), expected)


def test_norms_without_a_weight():
    x = random(3, 7)
    same(reference.norm(x, LayerNorm(None, None, 1e-5)), F.layer_norm(x, (7,), eps=1e-5))
    same(reference.norm(x, RMSNorm(None, 1e-5)), F.rms_norm(x, (7,), eps=1e-5))


def test_layer_norm_takes_two_passes():
    x = random(4, 64).float() + 4096.0
    norm = LayerNorm(torch.ones(64), torch.zeros(64), 1e-5)
    error = reference.norm(x, norm) - reference.exact(reference.norm, x, norm)
    assert error.abs().max() < 1e-3  # E[x^2] - mean^2 would be off by more than 1


def test_rms_norm_is_that_of_torch():
    x, weight = random(3, 7), random(7, seed=1)
    same(reference.norm(x, RMSNorm(weight, 1e-5)), F.rms_norm(x, (7,), weight, 1e-5))
    same(reference.norm(x, RMSNorm(weight, 1e-5, 1.0)), F.rms_norm(x, (7,), weight + 1, 1e-5))


def test_norm_returns_the_sum_where_there_is_one():
    x, residual, bias, after = random(2, 5), random(2, 5, seed=1), random(5, seed=2), random(2, 5)
    norm = RMSNorm(random(5, seed=3), 1e-6)
    n, r = reference.norm(x, norm, residual=residual, bias=bias, add_after=after)
    same(r, x + residual + bias)
    same(n, reference.norm(r, norm) + after)
    assert isinstance(reference.norm(x, norm, add_after=after), torch.Tensor)


@pytest.mark.parametrize("norm", [None, LayerNorm(random(6), random(6, seed=4), 1e-5)])
def test_qkv(norm):
    x, weight, bias = random(2, 6), random(9, 6, seed=1), random(9, seed=2)
    n = x if norm is None else F.layer_norm(x, (6,), norm.weight, norm.bias, norm.eps)
    same(reference.qkv(x, weight, bias, norm=norm), F.linear(n, weight, bias))
    y, normed = reference.qkv(x, weight, bias, norm=norm, return_normed=True)
    same(normed, n)
    same(y, F.linear(n, weight, bias))


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("add_residual", [True, False, "tensor"])
def test_mlp(gated, add_residual):
    x, residual, input_bias = random(2, 6), random(2, 6, seed=1), random(6, seed=2)
    weight_in, bias_in = random(16 if gated else 8, 6, seed=3), random(16 if gated else 8, seed=4)
    weight_out, bias_out = random(6, 8, seed=5), random(6, seed=6)
    norm = RMSNorm(random(6, seed=7), 1e-5)
    parallel = random(2, 6, seed=8)
    r = x + residual + input_bias
    n = F.rms_norm(r, (6,), norm.weight, norm.eps)
    z = F.linear(n, weight_in, bias_in)
    h = F.silu(z[:, :8]) * z[:, 8:] if gated else F.silu(z)
    y = F.linear(h, weight_out, bias_out) + {True: r, False: 0.0, "tensor": parallel}[add_residual]
    actual = reference.mlp(
        x,
        weight_in,
        weight_out,
        bias_in,
        bias_out,
        activation="silu",
        gated=gated,
        norm=norm,
        residual=residual,
        input_bias=input_bias,
        add_residual=parallel if add_residual == "tensor" else add_residual,
        return_residual=True,
        return_normed=True,
    )
    for got, expected in zip(actual, (y, r, n), strict=True):
        same(got, expected)


def test_mlp_without_a_residual_adds_its_input():
    x, weight_in, weight_out = random(2, 3), random(4, 3, seed=1), random(3, 4, seed=2)
    y = reference.mlp(x, weight_in, weight_out, activation="relu")
    same(y, x + F.linear(F.relu(F.linear(x, weight_in)), weight_out))


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("pre_ln", (10.0 + 100.0 + 1000.0 + 10000.0) / 2 + 1.0),
        ("parallel", 1.0 + 100.0 + (10.0 + 1000.0 + 10000.0) / 2),
    ],
)
def test_residual_add_divides_what_every_rank_holds(form, expected):
    h, r, a, ba, bf = (
        torch.full(shape, v)
        for shape, v in zip(
            ((2, 3), (2, 3), (2, 3), (3,), (3,)), (1.0, 10.0, 100.0, 1000.0, 10000.0), strict=True
        )
    )
    total = reference.residual_add(
        h, r, form=form, attention_output=a, attention_bias=ba, final_bias=bf, mp_size=2
    )
    assert total.tolist() == [[expected] * 3] * 2


def test_residual_add_post_ln_and_absent_terms():
    h, r, bias = torch.ones(2), torch.full((2,), 10.0), torch.full((2,), 100.0)
    post = reference.residual_add(h, r, form="post_ln", final_bias=bias, mp_size=4)
    assert post.tolist() == [111.0, 111.0]
    assert reference.residual_add(h, r, form="pre_ln", mp_size=4).tolist() == [3.5, 3.5]
    assert reference.residual_add(h, r, form="parallel", mp_size=4).tolist() == [3.5, 3.5]


NO_ATTENTION = "form 'post_ln' takes no attention_output and no attention_bias"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"form": "post"}, "form: expected 'pre_ln', 'post_ln' or 'parallel', got 'post'"),
        ({"form": "pre_ln", "mp_size": 0}, "mp_size: expected at least 1, got 0"),
        ({"form": "post_ln", "attention_output": torch.ones(2)}, NO_ATTENTION),
        ({"form": "post_ln", "attention_bias": torch.ones(2)}, NO_ATTENTION),
    ],
)
def test_residual_add_refuses(options, said):
    with pytest.raises(ValueError, match=rf"^\[reference\] {said}$"):
        reference.residual_add(torch.ones(2), torch.ones(2), **options)


def test_quantize_rounds_half_to_even():
    weight = torch.tensor(
        [[127.0, 0.5, 1.5, 2.5, -0.5, -1.5], [-127.0, 0.0, 126.5, -126.5, 3.4, 3.6]]
    )
    values, scales = reference.quantize_weight(weight, group="rows", groups=2)
    assert scales.tolist() == [1.0, 1.0]
    assert values.tolist() == [[127, 0, 2, 2, 0, -2], [-127, 0, 126, -126, 3, 4]]


def test_quantize_groups():
    weight = torch.tensor([[127.0, 254.0], [63.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    by_rows = reference.quantize_weight(weight, group="rows", groups=2)
    assert by_rows.scales.tolist() == [2.0, 0.0]
    assert by_rows.values.tolist() == [[64, 127], [32, 0], [0, 0], [0, 0]]
    by_k = reference.quantize_weight(weight, group="k", group_size=1)
    assert by_k.values.tolist() == [[127, 127], [127, 0], [0, 0], [0, 0]]
    torch.testing.assert_close(reference.dequantize(by_k), weight)


@pytest.mark.parametrize(
    "options", [{"group": "rows", "groups": 4}, {"group": "k", "group_size": 8}]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dequantized_weight_is_within_half_a_step(options, dtype):
    weight = random(12, 32).to(dtype)
    quantized = reference.quantize_weight(weight, **options)
    steps = reference.dequantize(quantized._replace(values=torch.ones_like(quantized.values)))
    error = (reference.dequantize(quantized) - weight.float()).abs()
    assert (error <= 0.5001 * steps).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"group": "rows", "groups": 5}, "groups: expected a divisor of 4 rows, got 5"),
        ({"group": "rows"}, "groups: expected a divisor of 4 rows, got None"),
        ({"group": "k", "group_size": 5}, "group_size: expected a divisor of 6, got 5"),
        ({"group": "k"}, "group_size: expected a divisor of 6, got None"),
        ({"group": "columns"}, "group: expected 'rows' or 'k', got 'columns'"),
        ({"group": "rows", "groups": 1, "bits": 4}, "bits: expected 8, got 4"),
    ],
)
def test_quantize_refuses(options, said):
    with pytest.raises(ValueError, match=rf"^\[reference\] {said}$"):
        reference.quantize_weight(torch.zeros(4, 6), **options)


def test_quantized_weight_is_multiplied_by_its_scales():
    x, weight = random(3, 8), random(4, 8, seed=1)
    quantized = reference.quantize_weight(weight, group="k", group_size=4)
    expected = F.linear(x, reference.dequantize(quantized, torch.float64))
    same(
        reference.exact(reference.linear, x.float(), quantized),
        F.linear(x.float().double(), reference.dequantize(quantized, torch.float64)),
    )
    same(reference.linear(x, quantized), expected)


def test_result_has_the_dtype_of_x():
    x, weight = random(2, 4).bfloat16(), random(4, 4, seed=1).bfloat16()
    bias, norm = random(4, seed=2).float(), LayerNorm(torch.ones(4), torch.zeros(4), 1e-5)
    assert reference.linear(x, weight, bias).dtype == torch.bfloat16
    assert reference.qkv(x, weight, bias, norm=norm).dtype == torch.bfloat16
    assert reference.mlp(x, weight, weight, bias, activation="silu").dtype == torch.bfloat16


def test_exact_computes_in_double():
    x, weight = random(2, 4).bfloat16(), random(4, 4, seed=1).bfloat16()
    norm = LayerNorm(
        torch.ones(4, dtype=torch.bfloat16), torch.zeros(4, dtype=torch.bfloat16), 1e-5
    )
    y = reference.exact(reference.qkv, x, weight, norm=norm)
    same(y, F.linear(F.layer_norm(x.double(), (4,), eps=1e-5), weight.double()))
