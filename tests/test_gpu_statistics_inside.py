"""The statistics of a few rows inside the QKV product: no kernel ahead of it, as exact as the norm
by itself; collected on GPU machines only."""

import cases
import pytest
import torch
from cases import tensor

from postlude import explain, ops, reference

HALVES = (torch.bfloat16, torch.float16)
# A stage of the product is 128 columns, a piece of a row that one load takes 8.
COLUMNS = (8, 72, 128, 136, 1000, 1600, 4099)
HOPPER = torch.cuda.is_available() and torch.cuda.get_device_capability() == (9, 0)


def is_inside(x, weight, norm, **options):
    """Whether the plan has no kernel for the statistics."""
    text = explain("qkv", x, weight, norm=norm, **options)
    assert "stores statistics" in text, text
    return "1. gemm" in text


def rows(m, k, dtype, mean=0.0):
    """Rows of a wider matrix, at addresses that TMA can read."""
    pitch = (k + 31) // 8 * 8
    return (tensor(m, pitch, dtype=dtype, device="cuda") + mean)[:, :k]


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("kind", ["layer", "rms"])
@pytest.mark.parametrize("k", COLUMNS)
def test_every_length_and_number_of_rows(k, kind, dtype):
    wide = torch.zeros(200, (k + 7) // 8 * 8, dtype=dtype, device="cuda")
    weight = wide[:, :k].copy_(cases.weight(200, k, dtype, "cuda"))
    norm = cases.norm_of(kind, k, dtype, "cuda")
    packed = ops.pack_weight(weight, norm=norm)
    bias = tensor(200, dtype=dtype, device="cuda")
    for m in (1, 2, 3, 5, 8, 9, 16, 17):
        x = rows(m, k, dtype, mean=3.0 if m == 5 else 0.0)
        inside = is_inside(x, packed, norm)
        if k % 8 == 0 or m > 16:  # other rows of the weight are not where TMA can read them
            assert inside == (HOPPER and m <= 16)
        guarded = cases.Guarded(m, 200, dtype=dtype, device="cuda", gap=8)
        y = ops.qkv(x, packed, bias, norm=norm, out=guarded.out)
        guarded.check()
        cases.assert_as_reference(y, reference.qkv, x, weight, bias, norm=norm)
        assert cases.same_bits(y, ops.qkv(x, packed, bias, norm=norm))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_means_and_outliers(kind, dtype):
    k = 1600
    weight, norm = cases.weight(96, k, dtype, "cuda"), cases.norm_of(kind, k, dtype, "cuda")
    packed = ops.pack_weight(weight, norm=norm)
    x = torch.randn(16, k)
    x += torch.linspace(-30, 30, 16)[:, None]
    x[3, ::97] *= 50
    x[4, 0] = 300.0
    x = x.to("cuda", dtype)
    assert is_inside(x, packed, norm) == HOPPER
    y = ops.qkv(x, packed, norm=norm)
    cases.assert_as_reference(y, reference.qkv, x, weight, norm=norm)


def test_values_that_are_no_numbers_keep_to_their_row():
    k, dtype = 1024, torch.bfloat16
    weight, norm = cases.weight(64, k, dtype, "cuda"), cases.norm_of("layer", k, dtype, "cuda")
    packed = ops.pack_weight(weight, norm=norm)
    x = rows(7, k, dtype)
    clean = ops.qkv(x, packed, norm=norm)
    x[2, 77] = torch.inf
    y = ops.qkv(x, packed, norm=norm)
    others = [0, 1, 3, 4, 5, 6]
    assert torch.isnan(y[2]).all()
    assert cases.same_bits(y[others], clean[others])


def test_not_inside():
    k, dtype = 512, torch.bfloat16
    weight, norm = cases.weight(64, k, dtype, "cuda"), cases.norm_of("rms", k, dtype, "cuda")
    packed, x = ops.pack_weight(weight, norm=norm), rows(4, k, dtype)
    assert is_inside(x, packed, norm) == HOPPER
    assert not is_inside(x, packed, norm, batch_invariant=True)
    x = rows(4, 64, dtype)
    norm = cases.norm_of("rms", 64, dtype, "cuda")
    packed = ops.pack_weight(cases.weight(64, 64, dtype, "cuda"), norm=norm)
    before = x.clone()
    ops.qkv(x, packed, norm=norm, out=x)
    cases.assert_as_reference(x, reference.qkv, before, packed.unpack(), norm=norm)
