"""postlude.Weight and the bound ops: packing, int8 groups, what memory is kept and what is not."""

import gc
import weakref

import cases
import numpy as np
import pytest
import torch
from cases import DTYPES, EPS, tensor

import postlude
from postlude import LayerNorm, RMSNorm, ops, reference


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gated", [False, True])
def test_unpack_gives_back_every_bit(gated, dtype, device):
    for n, k in ((2, 1), (32, 64), (130, 33), (66, 300), (0, 5), (6, 0)):
        bits = torch.randint(0, 256, (n, k * dtype.itemsize), dtype=torch.uint8, device=device)
        weight = bits.view(dtype) if k else torch.empty(n, 0, dtype=dtype, device=device)
        for layout in cases.LAYOUTS:
            packed = ops.pack_weight(weight, gated=gated, layout=layout)
            assert packed.shape == (n, k) and not packed.quantized
            assert packed.dtype == str(dtype).removeprefix("torch.")
            assert packed.device.startswith(device)
            assert packed.bytes >= weight.numel() * dtype.itemsize
            assert (packed.scales, packed.group) == (None, None)
            back = packed.unpack()
            assert isinstance(back, torch.Tensor) and back.device == weight.device
            assert cases.same_bits(back, weight), "NaN payloads and signed zeros included"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", cases.LAYOUTS)
def test_packed_computes_as_plain(layout, dtype, device):
    for m in (1, 9, 70):
        x = tensor(m, 65, dtype=dtype, device=device)
        for gated in (False, True):
            weight = cases.weight(96, 65, dtype, device)
            bias = tensor(96, dtype=dtype, device=device)
            options = {"activation": "gelu_tanh", "gated": gated, "layout": layout}
            packed = ops.pack_weight(weight, gated=gated, layout=layout)
            actual = ops.linear(x, packed, bias, **options)
            cases.assert_as_reference(actual, reference.linear, x, weight, bias, **options)


def test_a_weight_packed_with_a_norm(device):
    x, weight = tensor(9, 48, device=device), cases.weight(64, 48, torch.float32, device)
    for kind in ("layer", "rms"):
        norm = cases.norm_of(kind, 48, x.dtype, device)
        packed = ops.pack_weight(weight, norm=norm)
        actual = ops.qkv(x, packed, norm=norm)
        cases.assert_as_reference(actual, reference.qkv, x, weight, norm=norm)
        assert cases.same_bits(packed.unpack(), weight)


def test_pack_weight_needs_no_gradient(device):
    parameter = torch.nn.Parameter(cases.weight(8, 8, torch.float32, device))
    assert not ops.pack_weight(parameter).unpack().requires_grad
    x = parameter.detach()
    assert torch.equal(ops.Linear(parameter)(x), ops.linear(x, ops.pack_weight(parameter)))


GROUPS = (
    {"group": "rows", "groups": 1},
    {"group": "rows", "groups": 4},
    {"group": "rows", "groups": 32},
    {"group": "k", "group_size": 12},
    {"group": "k", "group_size": 48},
    {"group": "k", "group_size": 1},
)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("groups", GROUPS, ids=str)
def test_quantize_weight_to_the_bit(groups, dtype, device):
    weight = cases.weight(32, 48, dtype, device)
    weight[8:16] = 0  # whole groups of zeros
    weight[0, :12] = torch.arange(12, dtype=dtype) - 5.5  # ties
    weight[1, 3] = 127
    if dtype is torch.float32:
        weight[16:24] = 1e-45  # the scale underflows
    for view in (weight, weight.t().contiguous().t()):
        quantized = ops.quantize_weight(view, **groups)
        values, scales = reference.quantize_weight(weight, **groups)
        assert quantized.quantized and quantized.dtype == "int8" and quantized.shape == (32, 48)
        assert quantized.group == groups["group"]
        assert cases.same_bits(quantized.unpack(), values)
        assert cases.same_bits(quantized.scales, scales)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("groups", GROUPS, ids=str)
@pytest.mark.parametrize("gated", [False, True])
def test_int8_weights(gated, groups, dtype, device):
    weight, back = cases.weight(32, 48, dtype, device), cases.weight(48, 32, dtype, device)
    plain = reference.quantize_weight(weight, **groups)
    rows = {"group": "rows", "groups": 48}
    quantized = ops.quantize_weight(weight, **groups)
    quantized_back = ops.quantize_weight(back, **rows)
    plain_back = reference.quantize_weight(back, **rows)
    borrowed = ops.quantized_weight(plain.values, plain.scales, group=groups["group"])
    assert borrowed.bytes == 0
    bias = tensor(32, dtype=dtype, device=device)
    for m in (1, 7, 66):
        x = tensor(m, 48, dtype=dtype, device=device)
        options = {"activation": "silu", "gated": gated}
        y = ops.linear(x, quantized, bias, **options)
        cases.assert_as_reference(y, reference.linear, x, plain, bias, **options)
        assert cases.same_bits(ops.linear(x, borrowed, bias, **options), y)
        assert cases.same_bits(ops.Linear(quantized, bias, **options)(x), y)
        norm = cases.norm_of("rms", 48, dtype, device)
        actual = ops.qkv(x, quantized, norm=norm)
        cases.assert_as_reference(actual, reference.qkv, x, plain, norm=norm)
        if not gated:
            actual = ops.mlp(x, quantized, quantized_back, bias, activation="relu", norm=norm)
            cases.assert_as_reference(
                actual, reference.mlp, x, plain, plain_back, bias, activation="relu", norm=norm
            )


def test_a_borrowed_weight_keeps_its_tensors():
    arrays = [np.arange(128, dtype=np.int8).reshape(16, 8), np.arange(1, 5, dtype=np.float32)]
    memory = [weakref.ref(array) for array in arrays]
    values, scales = map(torch.from_numpy, arrays)
    del arrays
    kept = values.clone(), scales.clone()
    weight = ops.quantized_weight(values, scales, group="rows")
    values.data = torch.zeros_like(values)  # the tensor moves away; its old memory stays
    del values, scales
    gc.collect()
    assert torch.equal(weight.unpack(), kept[0]) and torch.equal(weight.scales, kept[1])
    del weight
    gc.collect()
    assert [array() for array in memory] == [None, None]


def test_scales_keep_their_weight(device):
    weight = ops.quantize_weight(torch.ones(64, 64, device=device), groups=64)
    scales, expected = weight.scales, weight.scales.clone()
    del weight
    gc.collect()
    torch.zeros(64, device=device)
    assert torch.equal(scales, expected)


def test_repr(device):
    weight = torch.ones(4, 6, device=device)
    assert repr(ops.pack_weight(weight)).startswith("postlude.Weight((4, 6), float32, ")
    assert "int8" in repr(ops.quantize_weight(weight, group="k", group_size=3))
    assert isinstance(ops.pack_weight(weight), postlude.Weight)


def bound_pairs(dtype, device, pack):
    """(name, bound op, the function that it must agree with), for activations (*, 40)."""
    n, k = 56, 40
    weight, back = cases.weight(n, k, dtype, device), cases.weight(k, n, dtype, device)
    gated = cases.weight(2 * n, k, dtype, device)
    bias, v = tensor(n, dtype=dtype, device=device), tensor(k, dtype=dtype, device=device)
    norm, rms = LayerNorm(v, v, EPS), RMSNorm(v, EPS, 1.0)
    options = {"pack": pack, "batch_invariant": True}
    return (
        (
            "linear",
            ops.Linear(weight, bias, activation="gelu", alpha=0.5, **options),
            lambda x, **o: ops.linear(x, weight, bias, activation="gelu", alpha=0.5, **o),
        ),
        (
            "gated linear",
            ops.Linear(
                gated, activation="silu", gated=True, layout="up_gate", clamp=1.0, **options
            ),
            lambda x, **o: ops.linear(
                x, gated, activation="silu", gated=True, layout="up_gate", clamp=1.0, **o
            ),
        ),
        (
            "qkv",
            ops.Qkv(weight, bias, norm=rms, **options),
            lambda x, **o: ops.qkv(x, weight, bias, norm=rms, **o),
        ),
        (
            "qkv and n",
            ops.Qkv(weight, norm=norm, return_normed=True, **options),
            lambda x, **o: ops.qkv(x, weight, norm=norm, return_normed=True, **o),
        ),
        (
            "mlp",
            ops.Mlp(weight, back, bias, v, activation="relu", norm=norm, **options),
            lambda x, **o: ops.mlp(x, weight, back, bias, v, activation="relu", norm=norm, **o),
        ),
        (
            "gated mlp",
            ops.Mlp(
                gated,
                back,
                activation="silu",
                gated=True,
                clamp=2.0,
                add_residual=False,
                return_residual=True,
                return_normed=True,
                **options,
            ),
            lambda x, **o: ops.mlp(
                x,
                gated,
                back,
                activation="silu",
                gated=True,
                clamp=2.0,
                add_residual=o.pop("add_residual", False),
                return_residual=True,
                return_normed=True,
                **o,
            ),
        ),
    )


def assert_close(actual, expected):
    """Tuples or tensors that agree but for the order of sums."""
    if isinstance(expected, torch.Tensor):
        actual, expected = (actual,), (expected,)
    assert len(actual) == len(expected)
    for ours, theirs in zip(actual, expected, strict=True):
        cases.assert_accurate(ours, theirs.double(), theirs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pack", [True, False])
def test_bound_ops_compute_as_functions(pack, dtype, device):
    for name, op, function in bound_pairs(dtype, device, pack):
        assert (op.packed_bytes > 0) == pack, name
        for leading in ((1,), (2, 5), ()):
            x = tensor(*leading, 40, dtype=dtype, device=device)
            wide = tensor(*leading, 56, dtype=dtype, device=device)
            assert_close(op(x), function(x))
            result = op(x)
            y = result[0] if isinstance(result, tuple) else result
            out = torch.empty_like(y)
            result = op(x, out=out)
            assert (result[0] if isinstance(result, tuple) else result) is out
            assert cases.same_bits(out, y)
            if "linear" in name:
                assert_close(op(x, wide), function(x, residual=wide))
            if name == "qkv":
                n = torch.empty_like(x)
                assert cases.same_bits(op(x, normed_out=n), y)
                assert cases.same_bits(n, function(x, return_normed=True)[1])
            if "mlp" in name:
                r, v = torch.randn_like(x), torch.randn_like(x.reshape(-1, 40)[0])
                assert_close(op(x, r, v), function(x, residual=r, input_bias=v))
                assert_close(op(x, r, add_residual=x), function(x, residual=r, add_residual=x))
                buffers = {"residual_out": torch.empty_like(x), "normed_out": torch.empty_like(x)}
                op(x, r, **buffers)
                others = {key: torch.empty_like(x) for key in buffers}
                function(x, residual=r, **others)
                for key, buffer in buffers.items():
                    assert cases.same_bits(buffer, others[key])


@pytest.mark.parametrize("pack", [True, False])
def test_a_bound_op_keeps_what_it_reads_and_nothing_more(pack):
    n = 64
    shapes = {"weight_in": (n, n), "weight_out": (n, n), "bias": (n,), "gamma": (n,), "beta": (n,)}
    tensors, memory = {}, {}
    for name, shape in shapes.items():
        array = np.random.default_rng(0).random(shape, np.float32)
        tensors[name] = torch.from_numpy(array)  # whose storage keeps the array alive
        memory[name] = weakref.ref(array)
    del array
    x = torch.randn(3, n)
    op = ops.Mlp(
        tensors["weight_in"],
        tensors["weight_out"],
        tensors["bias"],
        activation="silu",
        norm=LayerNorm(tensors["gamma"], tensors["beta"], EPS),
        pack=pack,
    )
    expected = op(x)
    for value in tensors.values():
        value.data = torch.full_like(value, torch.nan)  # as `module.to(...)` does
    del tensors, value
    gc.collect()
    kept = {name for name, reference_ in memory.items() if reference_() is not None}
    assert kept == set(shapes) - ({"weight_in", "weight_out"} if pack else set())
    assert torch.equal(op(x), expected)
    del op
    gc.collect()
    assert all(reference_() is None for reference_ in memory.values())
