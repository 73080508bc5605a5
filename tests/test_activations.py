"""Every activation on all values of bfloat16 and float16 and a dense sweep of float32."""

import pytest
import torch
from cases import ACTIVATIONS, DTYPES

from postlude import ops, reference

NAMES = [name for name in ACTIVATIONS if name is not None]


def values_of(dtype):
    """Every value of a 16-bit dtype; of float32 half a million, densest where activations bend."""
    if dtype is not torch.float32:
        return torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    bits = torch.randint(-(2**31), 2**31, (2**18,), dtype=torch.int64).to(torch.int32)
    special = [0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1e-45, -1e-45, 3.4e38, -3.4e38]
    return torch.cat(
        [
            bits.view(torch.float32),
            torch.linspace(-30, 30, 2**17),
            torch.linspace(-200, 0, 2**16),
            torch.tensor(special),
        ]
    )


def as_tensor_cores_keep(x):
    """The float32 values that the GPU's product, which splits them into TF32 numbers, keeps to the
    bit: those of 22 bits which are not too small."""
    kept = torch.where(x.isfinite(), (x.view(torch.int32) & -4).view(torch.float32), x)
    return kept[(kept == 0) | ~(kept.abs() < 2.0**-100)]


def half_ulp(exact, dtype):
    """Half the distance between the neighbours of ``dtype`` at each float64 value."""
    info = torch.finfo(dtype)
    _, exponent = torch.frexp(exact)
    ulp = torch.ldexp(torch.full_like(exact, info.eps), exponent - 1)
    return ulp.clamp(min=info.tiny * info.eps) / 2


def check(actual, x, name):
    """|error| <= 2^-20 |x| + half an ulp; NaN and infinity where the exact value rounds to them."""
    exact = reference.activate(x.double(), name)
    rounds_to = exact.to(x.dtype)
    finite = x.isfinite() & rounds_to.isfinite() & actual.isfinite()
    assert torch.equal(actual[~finite].isnan(), rounds_to[~finite].isnan())
    largest = torch.finfo(x.dtype).max
    odd = ~finite & ~rounds_to.isnan() & (actual != rounds_to)
    assert (exact[odd].abs() >= largest * (1 - 2.0**-7)).all(), "infinity far from overflow"
    actual, x, exact = actual[finite].double(), x[finite].double(), exact[finite]
    excess = (actual - exact).abs() / (2.0**-20 * x.abs() + half_ulp(exact, rounds_to.dtype))
    at = excess.argmax()
    assert excess[at] <= 1, (
        f"{name}({x[at]:.9g}) = {actual[at]:.9g}, exactly {exact[at]:.17g}: "
        f"{excess[at]:.3g} times the error allowed"
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [1, 20])
def test_of_a_product(n, name, dtype, device):
    x = values_of(dtype).to(device)
    if dtype is torch.bfloat16:  # processors multiply subnormal bfloat16 values as zeros
        x = x[~(x.abs() < torch.finfo(dtype).tiny)]
    if device == "cuda" and dtype is torch.float32:
        x = as_tensor_cores_keep(x)
    y = ops.linear(x[:, None], torch.ones(n, 1, dtype=dtype, device=device), activation=name)
    check(y[:, n - 1].cpu(), x.cpu(), name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("gated", [False, True])
def test_of_a_bias(gated, name, dtype, device):
    bias = values_of(dtype).to(device)
    halves = torch.cat([bias, torch.ones_like(bias)]) if gated else bias
    weight = torch.zeros(len(halves), 2, dtype=dtype, device=device)
    for m, operand in ((1, ops.pack_weight(weight, gated=gated)), (5, weight)):
        x = torch.ones(m, 2, dtype=dtype, device=device)
        y = ops.linear(x, operand, halves, activation=name, gated=gated)
        check(y[m - 1].cpu(), bias.cpu(), name)


@pytest.mark.parametrize("name", NAMES)
def test_infinities_and_nan_as_torch_has_them(name):
    x = torch.tensor([torch.inf, -torch.inf, torch.nan], dtype=torch.float64)
    torchs = {
        "relu": torch.relu,
        "gelu_erf": torch.nn.functional.gelu,
        "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
        "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
        "silu": torch.nn.functional.silu,
        "relu2": lambda x: torch.relu(x) ** 2,
    }
    expected = torchs[name](x)
    assert torch.equal(reference.activate(x, name).isnan(), expected.isnan())
    assert torch.equal(reference.activate(x, name).nan_to_num(), expected.nan_to_num())


@pytest.mark.parametrize("name", NAMES)
def test_the_float64_reference_is_exact_enough(name):
    mpmath = pytest.importorskip("mpmath")
    mp = mpmath.MPContext()
    mp.dps = 120
    exact = {
        "relu": lambda x: max(x, 0),
        "gelu_erf": lambda x: x / 2 * mp.erfc(-x / mp.sqrt(2)),
        "gelu_tanh": lambda x: (
            x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3)))
        ),
        "quick_gelu": lambda x: x / (1 + mp.exp(-mp.mpf("1.702") * x)),
        "silu": lambda x: x / (1 + mp.exp(-x)),
        "relu2": lambda x: max(x, 0) ** 2,
    }
    x = torch.cat([torch.linspace(-12, 12, 97), torch.tensor([1e-8, -1e-8, 100.0])]).double()
    for value, actual in zip(x.tolist(), reference.activate(x, name).tolist(), strict=True):
        expected = exact[name](mp.mpf(value))
        assert abs(actual - expected) <= 1e-12 * abs(expected), value
