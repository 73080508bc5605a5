"""Tensors of more than 2^31 elements on the GPU, exact in every element; collected on GPU machines
only."""

import pytest
import torch

from postlude import ops

# Rows, outputs and inputs that make one of the tensors large.
SHAPES = {
    "out": (65537, 32776, 64),
    "x": (2_100_000, 24, 1032),
    "weight": (24, 2_100_000, 1032),
}
ROWS_AT_ONCE = {"out": 4096, "x": 65536, "weight": 24}


def small_integers(*shape):
    """-1, 0 and 1 in bfloat16: sums of their products are exact, and products of two sums too."""
    return torch.randint(-1, 2, shape, device="cuda", dtype=torch.int8).bfloat16()


@pytest.mark.parametrize("kind", ["plain", "gated", "residual"])
@pytest.mark.parametrize("large", SHAPES)
def test_more_than_32_bits_can_count(large, kind):
    m, n, k = SHAPES[large]
    assert {"out": m * n, "x": m * k, "weight": n * k}[large] > 2**31
    x, weight = small_integers(m, k), small_integers(2 * n if kind == "gated" else n, k)
    out = torch.full((m, n), torch.nan, dtype=torch.bfloat16, device="cuda")
    residual = None
    if kind == "residual":  # in place
        residual = small_integers(m, n)
        out = residual.clone()
    in_place = None if residual is None else out
    ops.linear(x, weight, gated=kind == "gated", residual=in_place, out=out)
    exact = weight.float().t()
    for first in range(0, m, ROWS_AT_ONCE[large]):
        rows = slice(first, first + ROWS_AT_ONCE[large])
        z = x[rows].float() @ exact
        if kind == "gated":
            z = z[:, :n] * z[:, n:]
        if residual is not None:
            z += residual[rows]
        assert torch.equal(out[rows], z.bfloat16()), f"one of the rows from {first} on"
