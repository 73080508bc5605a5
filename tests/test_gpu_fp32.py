"""The fp32 tensor-core GEMM: its tiles, its accuracy and special values; collected on GPU machines
only."""

import cases
import pytest
import torch

from postlude import explain, ops, reference

# Tiles, each with a problem (M, weight rows, K) for which 132 multiprocessors make it the choice.
TILES = {
    "128x64x32": (1000, 4096, 200),
    "64x64x32": (1000, 1024, 136),
    "32x64x32": (30, 4096, 264),
}


def in_out(weight):
    """The same weight, stored as [in, out]."""
    return weight.t().contiguous().t()


def plainly(weight):
    """The weight as it is: [out, in]."""
    return weight


LAYOUTS = pytest.mark.parametrize("stored", [plainly, in_out])


def product(x, weight):
    return x.double() @ weight.double().t()


@LAYOUTS
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("tile", TILES)
def test_tile(tile, gated, stored):
    m, n, k = TILES[tile]
    options = {"activation": "silu", "gated": gated}
    x = torch.randn(m, k, device="cuda")
    weight = stored(cases.weight(n, k, torch.float32, "cuda"))
    bias = torch.randn(n, device="cuda")
    residual = torch.randn(m, n // 2 if gated else n, device="cuda")
    text = explain("linear", x, weight, bias, residual=residual, **options)
    assert "cuda.cutlass_tf32x3" in text, text
    if torch.cuda.get_device_properties("cuda").multi_processor_count == 132:
        assert f"tile {tile}" in text, text
    y = ops.linear(x, weight, bias, residual=residual, **options)
    cases.assert_as_reference(y, reference.linear, x, weight, bias, residual=residual, **options)
    assert cases.same_bits(ops.linear(x, weight, bias, residual=residual, **options), y)
    few = ops.linear(x[:7], weight, bias, residual=residual[:7], **options)
    assert cases.same_bits(few, y[:7]), "the tile shows in the bits"


@LAYOUTS
@pytest.mark.parametrize("shape", [(1000, 4096, 200), (65, 48, 64), (130, 31, 40), (33, 70, 129)])
@pytest.mark.parametrize("start", [0, 1, 4])
def test_small_integers_are_exact(shape, start, stored):
    m, n, k = shape
    # Views: some with aligned rows, some with a first element or a row stride that aligns nothing.
    x = cases.integers(m, k + 4, device="cuda")[:, start : start + k]
    weight = stored(cases.integers(n, k, device="cuda"))
    assert "cuda.cutlass_tf32x3" in explain("linear", x, weight)
    assert torch.equal(ops.linear(x, weight).double(), product(x, weight))
    half = n // 2
    weight = stored(cases.integers(2 * half, k, device="cuda"))
    z = product(x, weight)
    expected = z[:, :half] * z[:, half:]
    assert expected.abs().max() < 2**24
    assert torch.equal(ops.linear(x, weight, gated=True).double(), expected)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("k", [64, 1024, 4096, 14336])
def test_error_is_that_of_fp32(k, positive):
    x = torch.randn(512, k, device="cuda")
    weight = cases.weight(512, k, torch.float32, "cuda")
    if positive:
        # No sum of these passes near zero: what truncation takes away adds up.
        x, weight = x.abs(), weight.abs()
    exact = product(x, weight)

    def error(y):
        return ((y.double() - exact).norm() / exact.norm()).item()

    ours, torchs = error(ops.linear(x, weight)), error(x @ weight.t())
    print(f"K={k}, positive={positive}: {ours:.2e}, torch {torchs:.2e}")
    assert ours <= max(2 * torchs, 1e-6)


@LAYOUTS
def test_special_values(stored):
    m, n, k = 200, 192, 520
    x = torch.randn(m, k, device="cuda")
    weight = cases.weight(n, k, torch.float32, "cuda")
    plain = ops.linear(x, stored(weight))
    inf, largest = torch.inf, torch.finfo(torch.float32).max
    x[1, 5], x[2, 500], x[3, 0] = inf, -inf, torch.nan
    x[4, 3], x[4, 4] = inf, -inf
    x[5] = 0
    x[5, 7] = largest  # rounds up to infinity in TF32
    x[6] = 1e37
    x[7].view(torch.int32)[9] = 0x7F800001  # a NaN whose bits TF32 lacks
    weight[0] = 0.5  # nothing is left of it after its first TF32 number
    weight[1, 11], weight[2, 12] = inf, torch.nan
    weight[3] = 2.0
    weight[1, 5] = weight[130, 5] = 0
    weight = stored(weight)
    y = ops.linear(x, weight)
    expected = product(x, weight).float()  # what is too large becomes an infinity
    assert torch.equal(y.isnan(), expected.isnan())
    assert torch.equal(y.isinf(), expected.isinf())
    assert torch.equal(y[expected.isinf()], expected[expected.isinf()])
    assert ((y[5] - expected[5]).abs() <= 1e-6 * expected[5].abs())[expected[5].isfinite()].all()
    # What shares no operand with a special value has the same bits as without them.
    assert cases.same_bits(y[8:, 4:130], plain[8:, 4:130])
    assert cases.same_bits(y[8:, 131:], plain[8:, 131:])


def test_small_numbers_keep_their_precision():
    x = torch.randn(64, 256, device="cuda") * 1e-30
    weight = torch.randn(64, 256, device="cuda")
    exact = product(x, weight)
    assert (ops.linear(x, weight).double() - exact).norm() <= 1e-6 * exact.norm()
    zero = torch.zeros(64, 256, device="cuda")
    assert torch.equal(ops.linear(zero, weight), zero[:, :64])
