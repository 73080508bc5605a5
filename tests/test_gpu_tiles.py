"""Every tile of the Hopper GEMM, each where the plan chooses it; collected on GPU machines only."""

import cases
import pytest
import torch

from postlude import explain, ops, reference

# Tiles, each with a problem (M, weight rows, K) for which 132 multiprocessors make it the choice.
TILES = {"128x128x64": (1000, 4096, 200), "128x160x64": (1024, 28672, 136)}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("tile", TILES)
def test_tile(tile, gated, dtype):
    if torch.cuda.get_device_capability() != (9, 0):
        pytest.skip("not a Hopper GPU")
    m, n, k = TILES[tile]
    options = {"activation": "silu", "gated": gated}
    x = torch.randn(m, k, dtype=dtype, device="cuda")
    weight = cases.weight(n, k, dtype, "cuda")
    bias = torch.randn(n, dtype=dtype, device="cuda")
    residual = torch.randn(m, n // 2 if gated else n, dtype=dtype, device="cuda")
    text = explain("linear", x, weight, bias, residual=residual, **options)
    assert f"tile {tile}" in text, text
    y = ops.linear(x, weight, bias, residual=residual, **options)
    cases.assert_as_reference(y, reference.linear, x, weight, bias, residual=residual, **options)
    assert cases.same_bits(ops.linear(x, weight, bias, residual=residual, **options), y)
    # Small integers: exact, so that a wrong index or a missed tail shows whatever the tolerance.
    x = torch.randint(-2, 3, (m, k), device="cuda").to(dtype)
    weight = torch.randint(-1, 2, (n, k), device="cuda").to(dtype)
    exact = x.double() @ weight.double().t()
    assert torch.equal(ops.linear(x, weight).double(), exact)
    if gated:
        half = n // 2
        small = torch.randint(0, 2, (m, k), device="cuda").to(dtype)
        z = small.double() @ weight.double().t()
        expected = (z[:, half:] * z[:, :half]).to(dtype)
        assert torch.equal(ops.linear(small, weight, gated=True), expected)
