"""postlude.triton against the float64 reference: every epilogue, layout, norm and odd size."""

import sys
from pathlib import Path

import pytest
import torch
from cases import (
    ACTIVATIONS,
    DTYPES,
    LAYOUTS,
    NORMS,
    TAILS,
    Guarded,
    assert_as_reference,
    grid,
    integers,
    norm_of,
    same_bits,
    tensor,
    weight,
)
from test_activations import NAMES, check, values_of
from triton_cases import DEVICE, KERNEL_DTYPES, tuner  # noqa: F401, a fixture

from postlude import LayerNorm, RMSNorm, nn, ops, reference
from postlude import triton as kernels
from postlude.triton import arguments, launch, tiles

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import contenders
from shapes import Shape

pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in .*:RuntimeWarning")
# Beyond a chunk of the float32 sums: with whole blocks, and without.
LONG = ((3, 40, 512), (20, 33, 1031))
FIXED = {"autotune": False}


def compare(function, *args, **options):
    """A Triton op against the reference of the same name."""
    fixed = {} if function is reference.norm else FIXED  # a norm has nothing to tune
    actual = getattr(kernels, function.__name__)(*args, **options, **fixed)
    assert_as_reference(actual, function, *args, **options)


@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
@pytest.mark.parametrize(("m", "n", "k"), (*TAILS, *LONG))
@pytest.mark.parametrize("in_out", [False, True])
def test_linear(in_out, m, n, k, dtype):
    where = {"dtype": dtype, "device": DEVICE}
    x, w, b = tensor(m, k, **where), weight(n, k, **where), tensor(n, **where)
    w = w.t().contiguous().t() if in_out else w
    compare(reference.linear, x, w)
    compare(reference.linear, x, w, b.float(), activation="gelu_tanh")
    residual = tensor(m, n, **where)
    compare(reference.linear, x, w, b, residual=residual, alpha=0.5, activation="silu")


@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("gated", [False, True])
def test_activations(gated, activation, dtype):
    where = {"dtype": dtype, "device": DEVICE}
    x, w, b = tensor(9, 33, **where), weight(46, 33, **where), tensor(46, **where)
    compare(reference.linear, x, w, b, activation=activation, gated=gated)


@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
@pytest.mark.parametrize("options", grid(layout=LAYOUTS, clamp=[None, 0.7]))
@pytest.mark.parametrize("bias", [False, True])
def test_gated(bias, options, dtype):
    where = {"dtype": dtype, "device": DEVICE}
    x, w, residual = tensor(17, 65, **where), weight(62, 65, **where), tensor(17, 31, **where)
    b = tensor(62, **where) if bias else None
    compare(reference.linear, x, w, b, gated=True, residual=residual, activation="silu", **options)


@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_an_activation(name, dtype):
    # As a bias, so that nothing but the activation rounds. The interpreter takes a sample.
    bias = values_of(dtype).to(DEVICE)
    bias = bias if DEVICE == "cuda" else bias[:: len(bias) // 4096]
    bias = torch.cat([bias, bias.new_tensor([torch.inf, -torch.inf, torch.nan, 0.0, -0.0])])
    x, w = bias.new_ones(1, 2), bias.new_zeros(len(bias), 2)
    y = kernels.linear(x, w, bias, activation=name, **FIXED)
    check(y[0].cpu(), bias.cpu(), name)


@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
@pytest.mark.parametrize("gated", [False, True])
def test_small_integers_are_exact(gated, dtype):
    where = {"dtype": dtype, "device": DEVICE}
    for m, n, k in (*TAILS, *LONG):
        x, w, b = integers(m, k, **where), integers(2 * n, k, **where), integers(2 * n, **where)
        options = {"activation": "relu", "gated": gated}
        expected = reference.linear(x.double(), w.double(), b.double(), **options)
        expected = expected.clamp(-2000, 2000)  # what float16 and bfloat16 hold is looked at only
        y = kernels.linear(x, w, b, **options, **FIXED).double().clamp(-2000, 2000)
        exact = expected.abs() <= (256 if dtype is torch.bfloat16 else 2000)
        assert torch.equal(y[exact], expected[exact])
        assert exact.float().mean() > 0.5


@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size", [1, 7, 384, 1600, launch.NORM_BLOCK + 5])
def test_norm(size, norm, dtype):
    where = {"dtype": dtype, "device": DEVICE}
    rows = 5 if size < 5000 else 2
    x, residual = 2 * tensor(rows, size, **where) + 3, tensor(rows, size, **where)
    value = norm_of(norm, size, dtype, DEVICE)
    compare(reference.norm, x, value)
    compare(reference.norm, x, value, residual=residual)
    compare(reference.norm, x, value, residual=residual, bias=tensor(size, device=DEVICE))


def test_norm_without_parameters_and_with_float32_ones():
    x = tensor(4, 40, dtype=torch.float16, device=DEVICE)
    compare(reference.norm, x, LayerNorm(None, None, 1e-5))
    compare(reference.norm, x, RMSNorm(None, 1e-5, weight_offset=0.25))
    compare(reference.norm, x, norm_of("layer", 40, torch.float32, DEVICE))


@pytest.mark.parametrize("size", [512, launch.NORM_BLOCK + 512])
def test_a_large_mean_does_not_cancel_the_variance(size):
    for mean in (1000.0, -1e5):
        x, norm = tensor(3, size, device=DEVICE) + mean, LayerNorm(None, None, 1e-5)
        compare(reference.norm, x, norm)
        exact = reference.exact(reference.norm, x, norm)
        # x has no more digits than these; the mean, rounded to float32, would be off by far more.
        assert (kernels.norm(x, norm) - exact).norm() <= 1e-6 * exact.norm()


@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
@pytest.mark.parametrize("norm", NORMS)
def test_qkv(norm, dtype):
    where = {"dtype": dtype, "device": DEVICE}
    x, w, b = tensor(2, 5, 48, **where), weight(70, 48, **where), tensor(70, **where)
    value = norm_of(norm, 48, dtype, DEVICE)
    compare(reference.qkv, x, w, b, norm=value)
    compare(reference.qkv, x, w, norm=value, return_normed=True)


@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("more", [False, True])
def test_mlp(more, gated, norm, dtype):
    where = {"dtype": dtype, "device": DEVICE}
    x, w1, w2 = tensor(3, 7, 40, **where), weight(52, 40, **where), weight(40, 52, **where)
    w2 = w2[:, :26] if gated else w2
    options = {"norm": norm_of(norm, 40, dtype, DEVICE), "activation": "gelu", "gated": gated}
    compare(reference.mlp, x, w1, w2, **options)
    options |= {"return_residual": True, "return_normed": True, "add_residual": not more}
    if more:
        options |= {"residual": tensor(3, 7, 40, **where), "input_bias": tensor(40, **where)}
    compare(reference.mlp, x, w1, w2, tensor(52, **where), tensor(40, **where), **options)
    options["add_residual"] = tensor(3, 7, 9, **where)
    compare(reference.mlp, x, w1, w2[:9], None, tensor(9, **where), **options)


def test_equal_to_the_compiled_kernels():
    if DEVICE == "cuda" and "cuda: not built" in ops.explain("norm", torch.ones(1, 1), None):
        pytest.fail("a GPU, and postlude was built without CUDA")
    where = {"dtype": torch.float16, "device": DEVICE}
    module = nn.MLP(64, 96, activation="gelu_tanh", norm="layer", eps=1e-5, **where)
    x = tensor(3, 11, 64, **where)
    weights = (module.fc1.weight, module.fc2.weight, module.fc1.bias, module.fc2.bias)
    norm = LayerNorm(module.norm.weight, module.norm.bias, 1e-5)
    y = kernels.mlp(x, *weights, activation="gelu_tanh", norm=norm, **FIXED)
    torch.testing.assert_close(y, module(x), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("shape", [(16,), (0, 16), (1, 16), (2, 0, 16), (2, 3, 4, 16)])
def test_any_leading_dimensions(shape):
    x, w = tensor(*shape, device=DEVICE), weight(24, 16, torch.float32, DEVICE)
    compare(reference.linear, x, w)
    compare(reference.norm, x, norm_of("layer", 16, torch.float32, DEVICE), residual=x)
    compare(reference.mlp, x, w, w.t(), activation="relu")


@pytest.mark.parametrize("gated", [False, True])
def test_sizes_of_zero(gated):
    x, none = tensor(3, 0, device=DEVICE), torch.empty(8, 0, device=DEVICE)
    b, residual = tensor(8, device=DEVICE), tensor(3, 4 if gated else 8, device=DEVICE)
    compare(reference.linear, x, none, b, gated=gated, activation="silu", residual=residual)
    assert kernels.linear(tensor(3, 5, device=DEVICE), none.t()[:0].new_empty(0, 5)).shape == (3, 0)
    compare(reference.norm, x, LayerNorm(b[:0], None, 1e-5))
    compare(reference.mlp, tensor(3, 8, device=DEVICE), none.t(), none, None, b, activation="relu")


def test_strides():
    wide = tensor(4, 6, 5, 40, device=DEVICE)
    w = weight(24, 16, torch.float32, DEVICE)
    norm = norm_of("rms", 16, torch.float32, DEVICE)
    views = (
        wide[0, 0, :, 3:19],
        wide[:, 0, :, :16],
        wide[1, ::2, 1:4, 8:24],
        wide[:, 2:3, ::2, :16],
    )
    for x in views:
        residual = tensor(2, *x.shape[:-1], 24, device=DEVICE)[1]
        compare(reference.linear, x, w, residual=residual)
        compare(reference.linear, x, w[:16], residual=x)
        compare(reference.norm, x, norm, residual=x)
    w = tensor(70, 90, device=DEVICE)
    for view in (w[1:25, 3:19], w.t()[1:25, 3:19], w[:48:2, 3:19], w[::2, ::3][:24, :16]):
        compare(reference.linear, views[0], view)


@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
def test_nothing_outside_is_read_or_written(dtype):
    where = {"dtype": dtype, "device": DEVICE}
    for m, n, k in TAILS:
        sources = [Guarded(*shape, gap=5, **where) for shape in ((m, k), (n, k), (m, n))]
        for source in sources:
            source.buffer.fill_(torch.nan)
            source.out.copy_(tensor(*source.out.shape))
        x, w, residual = (source.out for source in sources)
        bias = torch.cat([tensor(n), torch.full((64,), torch.nan)]).to(**where)[:n]
        out = Guarded(m, n, gap=0, **where)
        rows = arguments.as_rows("test", "x", x), arguments.as_rows("test", "residual", residual)
        epilogue = launch.Epilogue(bias, "none", False, "gate_up", rows[1], 1.0, None)
        launch.product(rows[0], w, epilogue, out.out, autotune=False)
        assert_as_reference(out.check(), reference.linear, x, w, bias, residual=residual)
        summed = Guarded(m, n, gap=0, **where)
        normed = Guarded(m, n, gap=0, **where)
        norm = LayerNorm(bias, bias, 1e-2)
        launch.normalise(launch.Terms(rows[1], None, bias), norm, normed.out, summed.out)
        actual = (normed.check(), summed.check())
        assert_as_reference(actual, reference.norm, residual, norm, bias=bias)


def test_the_same_bits_again_and_in_every_row_of_a_batch():
    where = {"dtype": torch.float16, "device": DEVICE}
    x, w = tensor(40, 100, **where), weight(72, 100, **where)
    y = kernels.linear(x, w, activation="gelu", **FIXED)
    assert same_bits(y, kernels.linear(x, w, activation="gelu", **FIXED))
    assert same_bits(y[:20], kernels.linear(x[:20], w, activation="gelu", **FIXED))


def test_results_are_owned():
    x = tensor(3, 16, device=DEVICE)
    w = weight(16, 16, torch.float32, DEVICE)
    before = x.clone()
    options = {"activation": None, "return_residual": True, "return_normed": True}
    results = [kernels.norm(x, None), *kernels.mlp(x, w, w, **options, **FIXED)]
    results += kernels.qkv(x, w, return_normed=True, **FIXED)
    storages = {value.untyped_storage().data_ptr() for value in [x, w, *results]}
    assert len(storages) == 2 + len(results)
    for value in results:
        value.fill_(torch.nan)
    assert torch.equal(x, before)


def test_an_output_of_the_callers():
    x, w, residual = (tensor(*size, device=DEVICE) for size in ((5, 16), (24, 16), (5, 24)))
    expected = kernels.linear(x, w, residual=residual, **FIXED)
    out = torch.full_like(residual, torch.nan)
    assert kernels.linear(x, w, residual=residual, out=out, **FIXED) is out
    assert torch.equal(out, expected)
    assert torch.equal(kernels.linear(x, w, residual=residual, out=residual, **FIXED), expected)


@pytest.mark.parametrize("gated", [False, True])
def test_as_a_contender_of_the_benchmarks(gated, tuner):  # noqa: F811
    if gated:
        shape = Shape(64, 128, 4, 2, "silu", True, False, "rms", 1e-5)
    else:
        shape = Shape(64, 128, 4, 4, "gelu_tanh", False, True, "layer", 1e-5)
    for kind in contenders.KINDS:
        copy = contenders.new_copy(kind, shape, dtype=torch.float16, device=DEVICE)
        x = tensor(5, shape.hidden, dtype=torch.float16, device=DEVICE)
        with torch.inference_mode():
            (call,) = contenders.calls("triton", kind, shape, [copy])
            expected = contenders.exact(kind, shape, copy.weights, x)
            error = (call(x).double() - expected).norm() / expected.norm()
        assert error <= contenders.TOLERANCE["fp16"]
        assert tuner.table.path.exists()


def test_tiles_by_rule():
    for rows, most in ((0, 16), (1, 16), (16, 16), (17, 64), (4096, 4096), (4097, 0)):
        assert tiles.row_class(rows) == most
    for dtype in DTYPES:
        for rows in (1, 33, 100, 5000):
            plain, gated = (tiles.tiles(dtype, rows, gated) for gated in (False, True))
            assert len(set(plain)) == len(plain) and len(gated) == len(plain)
            for tile in (*plain, *gated):
                assert min(tile[:3]) >= 16
                assert dtype is not torch.float32 or tiles.FLOAT32_CHUNK % tile.block_k == 0
            size = torch.finfo(dtype).bits // 8
            first = plain[0]
            staged = (first.block_m + first.block_n) * first.block_k * size * first.stages
            assert staged <= 2**16
