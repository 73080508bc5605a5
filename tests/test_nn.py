"""postlude.nn: what the layers compute, which checkpoints they load, and what they refuse."""

import pytest
import torch
import torch.nn.functional as F
from cases import DTYPES, EPS, NORMS, assert_accurate, assert_as_reference, grid, tensor

from postlude import LayerNorm, RMSNorm, nn, reference


def scrambled(module):
    """The module with no parameter left at 0 or 1."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2 + 0.1)
    return module


def norm_value(module):
    if module.norm is None:
        return None
    if isinstance(module.norm, torch.nn.LayerNorm):
        return LayerNorm(module.norm.weight, module.norm.bias, EPS)
    return RMSNorm(module.norm.weight, EPS, module.weight_offset)


def mlp_arguments(module):
    """The arguments of reference.mlp that describe an nn.MLP."""
    first, last = (
        ([module.gate, module.up], module.down) if module.gated else ([module.fc1], module.fc2)
    )
    return {
        "weight_in": torch.cat([linear.weight for linear in first]),
        "weight_out": last.weight,
        "bias_in": None if last.bias is None else torch.cat([linear.bias for linear in first]),
        "bias_out": last.bias,
        "activation": module.activation,
        "gated": module.gated,
        "norm": norm_value(module) if module.norm_position == "pre" else None,
        "add_residual": module.add_residual,
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("activation", "gated"), [(None, False), ("gelu", False), ("silu", True)])
def test_linear(dtype, bias, activation, gated, device):
    options = {"activation": activation, "gated": gated}
    module = scrambled(nn.Linear(40, 24, bias=bias, dtype=dtype, device=device, **options))
    x, residual = (
        tensor(3, 5, 40, dtype=dtype, device=device),
        tensor(3, 5, 24, dtype=dtype, device=device),
    )
    parts = [module.gate, module.up] if gated else [module]
    arguments = (
        x,
        torch.cat([part.weight for part in parts]),
        torch.cat([part.bias for part in parts]) if bias else None,
    )
    for extra in (None, residual):
        y = module(x, extra)
        assert_as_reference(y, reference.linear, *arguments, residual=extra, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("bias", [True, False])
def test_qkv(dtype, norm, bias, device):
    options = {"norm": norm, "eps": EPS, "weight_offset": 0.5, "dtype": dtype, "device": device}
    module = scrambled(nn.QKV(48, 4, 2, 16, bias=bias, **options))
    x = tensor(2, 5, 48, dtype=dtype, device=device)
    arguments = (
        x,
        torch.cat([module.q.weight, module.k.weight, module.v.weight]),
        torch.cat([module.q.bias, module.k.bias, module.v.bias]) if bias else None,
    )
    assert_as_reference(module.merged(x), reference.qkv, *arguments, norm=norm_value(module))
    q, k, v = module(x)
    assert (q.shape, k.shape, v.shape) == ((2, 5, 4, 16), (2, 5, 2, 16), (2, 5, 2, 16))
    side_by_side = torch.cat([part.flatten(-2) for part in (q, k, v)], dim=-1)
    assert torch.equal(side_by_side, module.merged(x))
    assert k.data_ptr() == q.data_ptr() + 64 * q.element_size()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("activation", "gated"), [("gelu_tanh", False), ("silu", True)])
@pytest.mark.parametrize(
    "options", grid(norm=NORMS, bias=[True, False], add_residual=[True, False])
)
def test_mlp(dtype, activation, gated, options, device):
    options = options | {"activation": activation, "gated": gated, "eps": EPS}
    options |= {"dtype": dtype, "device": device}
    module = scrambled(nn.MLP(32, 56, **options))
    x, residual = (tensor(4, 32, dtype=dtype, device=device) for _ in range(2))
    input_bias = tensor(32, dtype=dtype, device=device)
    arguments = mlp_arguments(module)
    assert_as_reference(module(x), reference.mlp, x, **arguments)
    arguments |= {"residual": residual, "input_bias": input_bias}
    assert_as_reference(module(x, residual, input_bias), reference.mlp, x, **arguments)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_mlp_with_its_norm_after_it(dtype, norm, device):
    options = {"norm": norm, "eps": EPS, "norm_position": "post", "dtype": dtype, "device": device}
    module = scrambled(nn.MLP(32, 56, activation="gelu", **options))
    x, residual = (tensor(4, 32, dtype=dtype, device=device) for _ in range(2))
    for extra in (None, residual):
        arguments = mlp_arguments(module) | {"residual": extra}
        y = reference.exact(reference.mlp, x, **arguments)
        exact = reference.exact(reference.norm, y, norm_value(module))
        eager = reference.norm(reference.mlp(x, **arguments), norm_value(module))
        assert_accurate(module(x, extra), exact, eager)


def test_small_integers_are_exact():
    module = nn.MLP(8, 24, activation="relu", norm=None)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randint(-3, 4, parameter.shape))
    x = torch.randint(-3, 4, (5, 8)).float()
    expected = x + F.linear(
        F.relu(F.linear(x, module.fc1.weight, module.fc1.bias)), module.fc2.weight, module.fc2.bias
    )
    assert torch.equal(module(x), expected)


@pytest.mark.parametrize("shape", [(16,), (0, 16), (1, 16), (2, 0, 16), (2, 3, 4, 16)])
def test_any_leading_dimensions(shape):
    x = torch.randn(shape)
    assert nn.Linear(16, 8)(x).shape == (*shape[:-1], 8)
    assert nn.MLP(16, 8, activation="relu")(x).shape == shape
    assert [part.shape for part in nn.QKV(16, 2)(x)] == [(*shape[:-1], 2, 8)] * 3


def test_rows_with_a_stride():
    module, wide = nn.MLP(16, 8, activation="relu", norm="rms", eps=EPS), torch.randn(5, 40)
    assert torch.equal(module(wide[:, 8:24]), module(wide[:, 8:24].contiguous()))


def test_state_dict_keys():
    def keys(module):
        return {key.rsplit(".", 1)[0] for key in module.state_dict()}, len(module.state_dict())

    assert keys(nn.QKV(16, 2, norm="layer", eps=EPS)) == ({"norm", "q", "k", "v"}, 8)
    assert keys(nn.QKV(16, 2, norm="rms", eps=EPS, bias=False)) == ({"norm", "q", "k", "v"}, 4)
    assert keys(nn.MLP(16, 8, activation="gelu")) == ({"fc1", "fc2"}, 4)
    gated = nn.MLP(16, 8, activation="silu", gated=True, norm="rms", eps=EPS, bias=False)
    assert keys(gated) == ({"norm", "gate", "up", "down"}, 4)
    assert list(nn.Linear(16, 8).state_dict()) == ["weight", "bias"]
    assert keys(nn.Linear(16, 8, gated=True)) == ({"gate", "up"}, 4)


def test_packed_copies_are_not_in_the_state_dict():
    module = nn.MLP(64, 128, activation="gelu")
    before = list(module.state_dict())
    assert module.packed_bytes == 0
    module(torch.randn(1, 64))
    assert list(module.state_dict()) == before
    assert module.packed_bytes >= 0


def test_loads_an_ordinary_checkpoint():
    checkpoint = {
        "gate.weight": torch.randn(8, 16),
        "up.weight": torch.randn(8, 16),
        "down.weight": torch.randn(16, 8),
        "norm.weight": torch.randn(16),
    }
    module = nn.MLP(16, 8, activation="silu", gated=True, bias=False, norm="rms", eps=EPS)
    x = torch.randn(3, 16)
    module(x)
    module.load_state_dict(checkpoint)
    n = F.rms_norm(x, (16,), checkpoint["norm.weight"], EPS)
    h = F.silu(n @ checkpoint["gate.weight"].t()) * (n @ checkpoint["up.weight"].t())
    torch.testing.assert_close(
        module(x), x + h @ checkpoint["down.weight"].t(), rtol=1e-4, atol=1e-4
    )


# from_torch


class Conv1D(torch.nn.Module):
    """Stands for the layer of transformers: weight [in, out]."""

    def __init__(self, out_features, in_features):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(in_features, out_features))
        self.bias = torch.nn.Parameter(torch.randn(out_features))

    def forward(self, x):
        return x @ self.weight + self.bias


@pytest.mark.parametrize("make", [lambda o, i: torch.nn.Linear(i, o), Conv1D])
def test_from_torch_computes_the_same_on_the_same_storage(make):
    fc1, fc2, norm = make(24, 16), make(16, 24), scrambled(torch.nn.LayerNorm(16, eps=EPS))
    x = torch.randn(5, 16)
    with torch.no_grad():
        expected_linear = F.relu(fc1(x))
        expected_mlp = x + fc2(F.relu(fc1(norm(x))))
        expected_post = norm(x + fc2(F.relu(fc1(x))))
    linear = nn.Linear.from_torch(fc1, activation="relu")
    mlp = nn.MLP.from_torch(fc1, fc2, activation="relu", norm=norm)
    post = nn.MLP.from_torch(fc1, fc2, activation="relu", norm=norm, norm_position="post")
    torch.testing.assert_close(linear(x), expected_linear)
    torch.testing.assert_close(mlp(x), expected_mlp)
    torch.testing.assert_close(post(x), expected_post)
    assert linear.weight.shape == mlp.fc1.weight.shape == (24, 16)
    for shared in (linear.weight, mlp.fc1.weight):
        assert shared.data_ptr() == fc1.weight.data_ptr()
    assert mlp.norm.bias.data_ptr() == norm.bias.data_ptr()
    with torch.no_grad():
        fc1.bias.add_(1.0)
        torch.testing.assert_close(linear(x), F.relu(fc1(x)))


def test_qkv_from_torch():
    q, k, v = torch.nn.Linear(16, 32), torch.nn.Linear(16, 16, bias=False), torch.nn.Linear(16, 16)
    norm = scrambled(torch.nn.RMSNorm(16, eps=EPS))
    module = nn.QKV.from_torch(q, k, v, norm, head_dim=8)
    x = torch.randn(3, 16)
    assert (module.num_heads, module.num_kv_heads) == (4, 2)
    assert "k.bias" not in module.state_dict()
    with torch.no_grad():
        for part, linear in zip(module(x), (q, k, v), strict=True):
            torch.testing.assert_close(part.flatten(-2), linear(norm(x)))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("kind", [torch.nn.LayerNorm, torch.nn.RMSNorm])
def test_norms_of_torch_with_and_without_parameters(kind, affine):
    norm = scrambled(kind(16, eps=EPS, elementwise_affine=affine))
    q, k, v = (torch.nn.Linear(16, 16) for _ in range(3))
    module, x = nn.QKV.from_torch(q, k, v, norm, head_dim=8), torch.randn(3, 16)
    assert any(key.startswith("norm.") for key in module.state_dict()) == affine
    with torch.no_grad():
        torch.testing.assert_close(module(x)[0].flatten(-2), q(norm(x)))


def test_from_torch_gated():
    gate, up, down = (torch.nn.Linear(16, 24), torch.nn.Linear(16, 24), torch.nn.Linear(24, 16))
    x = torch.randn(3, 16)
    module = nn.MLP.from_torch(up, down, gate=gate, activation="silu", add_residual=False)
    half = nn.Linear.from_torch(up, gate=gate, activation="silu")
    with torch.no_grad():
        torch.testing.assert_close(half(x), F.silu(gate(x)) * up(x))
        torch.testing.assert_close(module(x), down(F.silu(gate(x)) * up(x)))


@pytest.mark.parametrize("module", [torch.nn.Identity(), torch.nn.Conv1d(4, 4, 1), torch.nn.ReLU()])
def test_from_torch_refuses_other_modules(module):
    with pytest.raises(TypeError, match=type(module).__name__):
        nn.Linear.from_torch(module)
    with pytest.raises(TypeError, match=type(module).__name__):
        nn.QKV.from_torch(*[torch.nn.Linear(4, 4)] * 3, norm=module, head_dim=2)


def test_source_modules_stay_as_they_were():
    linear = torch.nn.Linear(8, 8)
    module = nn.Linear.from_torch(linear)
    module.to(torch.bfloat16)
    assert linear.weight.dtype == torch.float32
    assert linear.weight.requires_grad


# Errors


@pytest.mark.parametrize(
    ("name", "sizes", "options"),
    [("Linear", (16, 16), {}), ("QKV", (16, 2), {}), ("MLP", (16, 8), {"activation": "relu"})],
)
def test_refuses_to_be_differentiated(name, sizes, options):
    module, x = getattr(nn, name)(*sizes, **options), torch.randn(2, 16)
    module(x)
    with pytest.raises(RuntimeError, match=rf"\[{name}\] the input requires grad.*inference_mode"):
        module(x.clone().requires_grad_())
    with torch.no_grad():
        module(x.clone().requires_grad_())
    module.requires_grad_(True)
    with pytest.raises(
        RuntimeError, match=rf"\[{name}\] a parameter requires grad.*inference_mode"
    ):
        module(x)
    with torch.inference_mode():
        module(x)


def test_constructor_errors():
    with pytest.raises(ValueError, match="eps"):
        nn.MLP(16, 8, activation="relu", norm="layer")
    with pytest.raises(ValueError, match=r"norm: .*'batch'"):
        nn.QKV(16, 2, norm="batch", eps=EPS)
    with pytest.raises(ValueError, match=r"norm_position.*'middle'"):
        nn.MLP(16, 8, activation="relu", norm_position="middle")
    with pytest.raises(ValueError, match="num_heads"):
        nn.QKV(16, 3)
    with pytest.raises(ValueError, match="head_dim"):
        nn.QKV.from_torch(*[torch.nn.Linear(16, 16)] * 3, head_dim=3)


@pytest.mark.parametrize("shape", [(3, 15), (3, 17)])
def test_wrong_width_is_an_error(shape):
    with pytest.raises(ValueError, match="x"):
        nn.MLP(16, 8, activation="relu")(torch.randn(shape))


def test_wrong_dtype_is_an_error():
    with pytest.raises((TypeError, ValueError), match=r"float16|float32"):
        nn.Linear(16, 8)(torch.randn(3, 16).half())
