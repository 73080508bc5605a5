"""qkv with a weight packed with its norm: as exact as the norm by itself, folded or not."""

import cases
import pytest
import torch
from cases import EPS, tensor

from postlude import LayerNorm, RMSNorm, explain, nn, ops, reference

HALVES = (torch.bfloat16, torch.float16)
FOLDED = "stores statistics"
PLAIN = "the norm is not folded"


def is_folded(x, weight, norm, **options):
    """Whether the plan takes the norm into the product; it says so, or why not."""
    text = explain("qkv", x, weight, norm=norm, **options)
    assert (FOLDED in text) != (PLAIN in text), text
    return FOLDED in text


def folds(device, dtype):
    """Whether norms are folded at all."""
    return device == "cuda" and dtype in HALVES


@pytest.mark.parametrize("dtype", cases.DTYPES, ids=str)
@pytest.mark.parametrize("mean", [0.0, 1.0, 5.0, 30.0])
@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_accurate_whatever_the_mean(kind, mean, dtype, device):
    for m, n, k in ((1, 96, 384), (11, 64, 1600), (70, 200, 512), (130, 33, 4096)):
        x = (torch.randn(m, k) + mean).to(device, dtype)
        weight = cases.weight(n, k, dtype, device)
        bias = tensor(n, dtype=dtype, device=device)
        norm = cases.norm_of(kind, k, dtype, device)
        packed = ops.pack_weight(weight, norm=norm)
        assert is_folded(x, packed, norm) == folds(device, dtype)
        actual = ops.qkv(x, packed, bias, norm=norm)
        cases.assert_as_reference(actual, reference.qkv, x, weight, bias, norm=norm)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_outlier_channels(kind, dtype, device):
    k = 1024
    x = torch.randn(40, k)
    x[:, ::97] *= 50
    x = x.to(device, dtype)
    weight = cases.weight(64, k, dtype, device)
    norm = cases.norm_of(kind, k, dtype, device)
    actual = ops.qkv(x, ops.pack_weight(weight, norm=norm), norm=norm)
    cases.assert_as_reference(actual, reference.qkv, x, weight, norm=norm)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_every_form_of_norm(dtype, device):
    k = 264
    x, weight = tensor(9, k, dtype=dtype, device=device), cases.weight(40, k, dtype, device)
    gamma, beta = tensor(k, device=device) * 0.2 + 1, tensor(k, device=device)
    norms = [
        LayerNorm(gamma, beta, EPS),
        LayerNorm(gamma.to(dtype), None, EPS),
        LayerNorm(None, None, EPS),
        RMSNorm(gamma, EPS, 0.0),
        RMSNorm((gamma - 1).to(dtype), EPS, 1.0),
        RMSNorm(None, EPS, 0.0),
    ]
    for norm in norms:
        packed = ops.pack_weight(weight, norm=norm)
        assert is_folded(x, packed, norm) == folds(device, dtype)
        actual = ops.qkv(x, packed, norm=norm)
        cases.assert_as_reference(actual, reference.qkv, x, weight, norm=norm)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_rows_of_every_length(kind, dtype, device):
    sizes = (1, 7, 8, 33, 64, 129, 1000, 1001, 1032, 4100, 4097, 8192, 8200, 12289, 65536, 65544)
    for k in sizes:
        x = tensor(3, k + 3, dtype=dtype, device=device)[:, :k]
        weight = cases.weight(5, k, dtype, device)
        norm = cases.norm_of(kind, k, dtype, device)
        actual = ops.qkv(x, ops.pack_weight(weight, norm=norm), norm=norm)
        cases.assert_as_reference(actual, reference.qkv, x, weight, norm=norm)


def test_another_norm_runs_by_itself(device):
    dtype = torch.bfloat16
    x, weight = tensor(9, 64, dtype=dtype, device=device), cases.weight(48, 64, dtype, device)
    norm = cases.norm_of("layer", 64, dtype, device)
    packed = ops.pack_weight(weight, norm=norm)
    others = [
        cases.norm_of("layer", 64, dtype, device),
        LayerNorm(norm.weight, norm.bias, 2 * norm.eps),
        LayerNorm(norm.weight, None, norm.eps),
        LayerNorm(norm.weight.float(), norm.bias, norm.eps),
        RMSNorm(norm.weight, norm.eps, 0.0),
    ]
    for other in others:
        assert not is_folded(x, packed, other)
        actual = ops.qkv(x, packed, norm=other)
        cases.assert_as_reference(actual, reference.qkv, x, weight, norm=other)
    cases.assert_as_reference(ops.qkv(x, packed), reference.qkv, x, weight)
    actual = ops.qkv(x, packed, norm=norm, return_normed=True)
    assert not is_folded(x, packed, norm, normed_out=torch.empty_like(x))
    cases.assert_as_reference(actual, reference.qkv, x, weight, norm=norm, return_normed=True)
    assert not is_folded(x, weight, norm)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_the_weight_itself_is_kept(dtype, device):
    weight = cases.weight(48, 64, dtype, device)
    norm = cases.norm_of("rms", 64, dtype, device)
    packed = ops.pack_weight(weight, norm=norm)
    assert cases.same_bits(packed.unpack(), weight)
    assert packed.bytes >= weight.numel() * 2 * (2 if device == "cuda" else 1)
    op = ops.Qkv(weight, norm=norm)
    assert op.packed_bytes >= packed.bytes


def test_products_below_the_normal_range_are_not_folded(device):
    dtype = torch.float16
    x, weight = tensor(9, 64, dtype=dtype, device=device), cases.weight(48, 64, dtype, device)
    norm = RMSNorm(torch.full((64,), 3e-5, dtype=dtype, device=device), EPS, 0.0)
    packed = ops.pack_weight(weight, norm=norm)
    assert not is_folded(x, packed, norm)
    actual = ops.qkv(x, packed, norm=norm)
    cases.assert_as_reference(actual, reference.qkv, x, weight, norm=norm)
    # A few small products among large ones are no reason.
    few = torch.ones(64, dtype=dtype, device=device)
    few[5] = 3e-5
    norm = RMSNorm(few, EPS, 0.0)
    packed = ops.pack_weight(weight, norm=norm)
    assert is_folded(x, packed, norm) == folds(device, dtype)
    actual = ops.qkv(x, packed, norm=norm)
    cases.assert_as_reference(actual, reference.qkv, x, weight, norm=norm)
    large = RMSNorm(torch.full((64,), 6e4, device=device), EPS, 0.0)
    assert not is_folded(x, ops.pack_weight(4 * weight, norm=large), large)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_batch_invariant(kind, dtype, device):
    x, weight = tensor(300, 520, dtype=dtype, device=device), cases.weight(96, 520, dtype, device)
    norm = cases.norm_of(kind, 520, dtype, device)
    op = ops.Qkv(weight, norm=norm, batch_invariant=True)
    whole = op(x)
    for first, last in ((0, 1), (17, 18), (7, 40), (100, 300)):
        assert cases.same_bits(op(x[first:last]), whole[first:last])
    assert cases.same_bits(op(x), whole)


def test_leading_dimensions_and_empty_calls(device):
    dtype = torch.bfloat16
    weight = cases.weight(48, 64, dtype, device)
    norm = cases.norm_of("layer", 64, dtype, device)
    op = ops.Qkv(weight, norm=norm)
    for shape in ((64,), (2, 3, 64), (0, 64), (2, 0, 64)):
        x = tensor(*shape, dtype=dtype, device=device)
        cases.assert_as_reference(op(x), reference.qkv, x, weight, norm=norm)
    x = tensor(4, 5, 64, dtype=dtype, device=device)[:, ::2]  # several slabs
    cases.assert_as_reference(op(x), reference.qkv, x, weight, norm=norm)
    nothing = cases.weight(0, 64, dtype, device)
    assert ops.qkv(x, ops.pack_weight(nothing, norm=norm), norm=norm).shape == (4, 3, 0)


def test_out_may_be_x(device):
    dtype = torch.bfloat16
    x, weight = tensor(70, 64, dtype=dtype, device=device), cases.weight(64, 64, dtype, device)
    norm = cases.norm_of("layer", 64, dtype, device)
    op, before = ops.Qkv(weight, norm=norm), x.clone()
    op(x, out=x)
    assert cases.same_bits(x, op(before))


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_a_layer_follows_its_norm(dtype, device):
    layer = nn.QKV(64, 4, norm="layer", eps=EPS, dtype=dtype, device=device)
    x = tensor(5, 64, dtype=dtype, device=device)
    for _ in range(3):
        with torch.no_grad():
            layer.norm.weight.copy_(torch.randn(64))
            layer.norm.bias.copy_(torch.randn(64))
        norm = LayerNorm(layer.norm.weight, layer.norm.bias, EPS)
        weight = torch.cat([part.weight for part in (layer.q, layer.k, layer.v)])
        bias = torch.cat([part.bias for part in (layer.q, layer.k, layer.v)])
        cases.assert_as_reference(layer.merged(x), reference.qkv, x, weight, bias, norm=norm)


def test_pack_refuses_a_norm_that_does_not_fit(device):
    weight, other = tensor(8, 16, device=device), tensor(15, device=device)
    fits = tensor(16, device=device)
    for norm in (LayerNorm(other, None, EPS), LayerNorm(fits, other, EPS)):
        with pytest.raises(ValueError, match=r"\[pack_weight\] norm\.\w+: expected .*\(16,\)"):
            ops.pack_weight(weight, norm=norm)
    half = LayerNorm(fits.half(), None, EPS)
    with pytest.raises(ValueError, match=r"\[pack_weight\] norm.weight: expected float32"):
        ops.pack_weight(weight, norm=half)
