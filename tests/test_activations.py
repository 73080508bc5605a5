"""Every activation on all bfloat16 and float16 values and a dense sweep of float32, against float64 and mpmath."""

import cases
import pytest
import torch
from cases import ACTIVATIONS, DTYPES

from postlude import ops, reference

NAMES = [name for name in ACTIVATIONS if name is not None]


def values_of(dtype):
    """Every value of a 16-bit dtype; of float32 a million: of every size, and dense where activations bend."""
    if dtype is not torch.float32:
        return torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    bits = torch.randint(-(2**31), 2**31, (2**19,), dtype=torch.int64).to(torch.int32)
    special = [0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1e-45, -1e-45, 3.4e38, -3.4e38]
    return torch.cat([
        bits.view(torch.float32),
        torch.linspace(-30, 30, 2**18),
        torch.linspace(-200, 0, 2**17),
        torch.tensor(special),
    ])


def half_ulp(exact, dtype):
    """Half the distance between neighbours of ``dtype`` at each float64 value."""
    info = torch.finfo(dtype)
    smallest = info.tiny * info.eps  # the distance between subnormals
    _, exponent = torch.frexp(exact)
    return 0.5 * torch.clamp(torch.ldexp(torch.tensor(info.eps).double(), exponent - 1), min=smallest)


def check(actual, x, name):
    """|error| <= 2^-20 |x| + half an ulp; NaN and infinities as torch has them; overflow to infinity only at its edge."""
    exact = reference.activate(x.double(), name)
    finite = torch.isfinite(x)
    assert torch.equal(actual[~finite].isnan(), exact[~finite].isnan())
    infinite = ~finite & ~exact.isnan()
    assert torch.equal(actual[infinite].double(), exact[infinite])
    actual, x, exact = actual[finite].double(), x[finite].double(), exact[finite]
    edge = torch.finfo(torch.float32 if name is None else x.dtype).max
    limit = 2.0**-20 * x.abs() + half_ulp(exact, DTYPE_OF[id(check)] if False else check.dtype)
    overflow = actual.isinf()
    assert (exact[overflow].abs() >= check.largest * (1 - 2.0**-9)).all()
    error = (actual - exact).abs()[~overflow]
    excess = error / limit[~overflow]
    at = excess.argmax() if excess.numel() else 0
    assert excess.numel() == 0 or excess.max() <= 1, (
        f"{name}({x[~overflow][at]:.9g}) = {actual[~overflow][at]:.9g}, exactly {exact[~overflow][at]:.17g}: "
        f"{excess[at]:.3f} of the allowed error"
    )
