"""Norms of a few rows inside the MLP's first product: the same rows as the norm by itself, to the
bit, and the block as exact; collected on GPU machines only."""

import cases
import pytest
import torch
from cases import tensor

from postlude import explain, ops, reference

HALVES = (torch.bfloat16, torch.float16)
ROWS = (1, 2, 3, 4, 5)
# A warp's share of a row is 1024 columns, a stage of the product 128.
COLUMNS = (520, 1000, 1024, 1032, 1600, 2048)
HOPPER = torch.cuda.is_available() and torch.cuda.get_device_capability() == (9, 0)


def is_inside(x, *weights, **options):
    """Whether the plan has no norm of its own."""
    text = explain("mlp", x, *weights, **options)
    return " of layer_norm " in text or " of rms_norm " in text


def fits(m, k):
    """Whether a block's four warps hold all rows at once."""
    return HOPPER and m * (1 if k <= 1024 else 2) <= 4


def rows(m, k, dtype):
    """Rows of a wider matrix."""
    return tensor(m, k + 24, dtype=dtype, device="cuda")[:, 8 : k + 8]


def weights_of(k, inner, gated, dtype):
    """An MLP's two weights."""
    shapes = ((2 * inner if gated else inner, k), (k, inner))
    return [cases.weight(*shape, dtype, "cuda") for shape in shapes]


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("kind", ["layer", "rms"])
@pytest.mark.parametrize("k", COLUMNS)
def test_every_length(k, kind, dtype):
    weights = weights_of(k, 200, False, dtype)
    norm = cases.norm_of(kind, k, dtype, "cuda")
    options = {"activation": "gelu_tanh", "norm": norm, "return_normed": True}
    for m in ROWS:
        x = rows(m, k, dtype)
        assert is_inside(x, *weights, **options) == fits(m, k)
        guarded = cases.Guarded(m, k, dtype=dtype, device="cuda", gap=8)
        y, n = ops.mlp(x, *weights, **options, out=guarded.out)
        guarded.check()
        assert cases.same_bits(n, ops.norm(x, norm))
        cases.assert_as_reference((y, n), reference.mlp, x, *weights, **options)
        again, _ = ops.mlp(x, *weights, **options)
        assert cases.same_bits(y, again)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("vectors", [torch.float32, None], ids=str)
def test_sums_gates_and_other_dtypes(vectors, gated, dtype):
    k = 1096
    weights = weights_of(k, 328, gated, dtype)
    norm = cases.norm_of("layer", k, vectors or dtype, "cuda")
    options = {"activation": "silu", "gated": gated, "norm": norm}
    stored = {"return_residual": True, "return_normed": True}
    for m in ROWS:
        x, residual = rows(m, k, dtype), rows(m, k, dtype)
        assert is_inside(x, *weights, residual=residual, **options, **stored) == fits(m, k)
        y, r, n = ops.mlp(x, *weights, residual=residual, **options, **stored)
        expected_n, expected_r = ops.norm(x, norm, residual=residual)
        assert cases.same_bits(r, expected_r)
        assert cases.same_bits(n, expected_n)
        expected = (reference.mlp, x, *weights)
        cases.assert_as_reference((y, r, n), *expected, residual=residual, **options, **stored)


def test_slabs_of_several_alignments():
    # Of two slabs the first takes the norm into the product, the second does not.
    k, dtype = 1024, torch.bfloat16
    weights, norm = weights_of(k, 64, False, dtype), cases.norm_of("rms", k, dtype, "cuda")
    x = tensor(2, 2 * k + 4, dtype=dtype, device="cuda")[:, : 2 * k].unflatten(1, (2, k))
    options = {"activation": "relu", "norm": norm}
    assert is_inside(x[:1], *weights, **options) == HOPPER
    assert not is_inside(x[1:], *weights, **options)
    y = ops.mlp(x, *weights, **options)
    cases.assert_as_reference(y, reference.mlp, x, *weights, **options)


def test_values_that_are_no_numbers_keep_to_their_row():
    k, dtype = 1024, torch.bfloat16
    weights, norm = weights_of(k, 64, False, dtype), cases.norm_of("rms", k, dtype, "cuda")
    x = rows(4, k, dtype)
    x[2, 77] = torch.inf
    y = ops.mlp(x, *weights, activation="relu", norm=norm)
    assert y[2].isnan().any()
    assert torch.isfinite(y[[0, 1, 3]]).all()


def test_not_inside():
    k, dtype = 1024, torch.bfloat16
    weights, norm = weights_of(k, 512, False, dtype), cases.norm_of("layer", k, dtype, "cuda")
    x, residual = rows(4, k, dtype), rows(4, k, dtype)
    options = {"activation": "silu", "norm": norm, "residual": residual}
    assert is_inside(x, *weights, **options) == HOPPER
    assert not is_inside(x, *weights, **options, batch_invariant=True)
    bias = tensor(k, dtype=dtype, device="cuda")
    assert not is_inside(x, *weights, **options, input_bias=bias)
    # Blocks that still read what another one writes.
    assert not is_inside(x, *weights, **options, residual_out=residual)
    expected, before = ops.mlp(x, *weights, **options), residual.clone()
    y, r = ops.mlp(x, *weights, **options, residual_out=residual, return_residual=True)
    assert r.data_ptr() == residual.data_ptr()
    cases.assert_accurate(y, expected, expected)
    assert cases.same_bits(r, ops.norm(x, None, residual=before)[1])
