"""The Triton kernels compiled for a GPU: every tile's bits, large tensors, streams, graphs, real
tuning; collected on GPU machines only."""

import json
import sys

import pytest
import torch
from cases import DTYPES, EPS, FLOOR, assert_accurate, assert_as_reference, same_bits, tensor
from cases import weight as weight_of
from triton_cases import tuner  # noqa: F401, a fixture

from postlude import LayerNorm, RMSNorm, ops, reference
from postlude import triton as kernels
from postlude.compat import deepspeed
from postlude.triton import arguments, launch, tiles

ROWS = (1, 16, 17, 64, 100, 1000)


def sums_with(tile, x, w, gated):
    """The product of one tile, not rounded: the float32 sums themselves."""
    out = torch.empty(len(x), len(w) // (2 if gated else 1), device="cuda")
    epilogue = launch.Epilogue(None, "none", gated, "gate_up", None, 1.0, None)

    def only(dtype, rows, gated):
        return (tile,)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "tiles", only)
        launch.product(arguments.as_rows("test", "x", x), w, epilogue, out, autotune=False)
    return out


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("in_out", [False, True])
@pytest.mark.parametrize("rows", ROWS)
def test_every_tile_for_a_number_of_rows_gives_the_same_bits(rows, in_out, gated, dtype):
    import triton

    for n, k in ((640, 1600), (258, 1003)):
        x = tensor(rows, k, dtype=dtype, device="cuda")
        w = weight_of(n, k, dtype, "cuda")
        w = w.t().contiguous().t() if in_out else w
        first, *others = tiles.tiles(dtype, rows, gated)
        expected = sums_with(first, x, w, gated)
        exact = reference.linear(x.double(), w.double(), gated=gated)
        torchs = reference.linear(x.float(), w.float(), gated=gated)
        if dtype is torch.float32:
            assert_accurate(expected, exact, torchs)
        else:
            assert (expected - exact).norm() <= 2e-5 * exact.norm()
        ran = 0
        for tile in others:
            try:
                found = sums_with(tile, x, w, gated)
            except triton.OutOfResources:
                continue
            ran += 1
            assert same_bits(found, expected), f"{tile} has other bits than {first}"
        assert ran


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_real_block(dtype, tuner):  # noqa: F811
    for rows in (1, 37, 300):
        hidden, inner = 1600, 6400
        x, residual = (tensor(rows, hidden, dtype=dtype, device="cuda") for _ in range(2))
        w1, w2 = weight_of(inner, hidden, dtype, "cuda"), weight_of(hidden, inner, dtype, "cuda")
        b1, b2, v = (tensor(size, dtype=dtype, device="cuda") for size in (inner, hidden, hidden))
        options = {"activation": "gelu_tanh", "norm": LayerNorm(v, v, EPS), "residual": residual}
        y = kernels.mlp(x, w1, w2, b1, b2, **options)
        assert_as_reference(y, reference.mlp, x, w1, w2, b1, b2, **options)
        assert same_bits(y, kernels.mlp(x, w1, w2, b1, b2, **options, autotune=False))
    entries = json.loads(tuner.table.path.read_text())["entries"]
    assert len(entries) == 2 * 3
    for key, entry in entries.items():
        assert torch.cuda.get_device_name() in key
        assert 1 < entry["microseconds"] < 10_000


def operands(name, hidden, inner, rows, dtype, device="cuda"):
    """Arguments and options for an op of both backends, with all that both can do."""
    where = {"dtype": dtype, "device": device}
    x, residual = (tensor(rows, hidden, **where) for _ in range(2))
    first = weight_of(2 * inner, hidden, dtype, device), weight_of(hidden, inner, dtype, device)
    v, b1, b2 = tensor(hidden, **where), tensor(2 * inner, **where), tensor(hidden, **where)
    return {
        "linear": ((x, first[0], b1), {"activation": "gelu_tanh", "gated": True}),
        "qkv": ((x, first[0], b1), {"norm": RMSNorm(v, EPS, 1.0)}),
        "mlp": (
            (x, *first, b1, b2),
            {
                "activation": "silu",
                "gated": True,
                "norm": LayerNorm(v, v, EPS),
                "residual": residual,
            },
        ),
        "norm": ((x, LayerNorm(v, v, EPS)), {"residual": residual}),
    }[name]


def assert_same_within_the_rule(name, args, options):
    """docs/numerics.md's rule of Triton's result beside float64's, and beside the compiled kernels'
    in its place: they differ by no more than torch may from float64."""
    fixed = {} if name == "norm" else {"autotune": False}
    theirs = getattr(kernels, name)(*args, **options, **fixed)
    ours, eager = getattr(ops, name)(*args, **options), getattr(reference, name)(*args, **options)
    exact = reference.exact(getattr(reference, name), *args, **options)
    each = (theirs, ours, eager, exact)
    each = each if isinstance(ours, tuple) else tuple((one,) for one in each)
    for triton, compiled, torchs, double in zip(*each, strict=True):
        assert_accurate(triton, double, torchs)
        assert triton.dtype == compiled.dtype and triton.shape == compiled.shape
        apart = (triton.double() - compiled.double()).abs()
        error, floor = (torchs.double() - double).abs(), FLOOR[triton.dtype]
        said = f"{name}: apart by {apart.norm():.3e}, torch's error {error.norm():.3e}"
        assert apart.norm() <= max(1.25 * error.norm(), floor * double.norm()), said
        assert apart.max() <= 2 * error.max() + floor * double.abs().max(), f"{said}, one element"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["linear", "qkv", "mlp", "norm"])
@pytest.mark.parametrize(
    ("hidden", "inner", "rows"), [(33, 65, 7), (384, 1536, 1), (768, 3072, 33), (1600, 6400, 300)]
)
def test_both_backends_give_the_same(hidden, inner, rows, name, dtype):
    args, options = operands(name, hidden, inner, rows, dtype)
    assert_same_within_the_rule(name, args, options)


def test_the_comparison_of_backends_can_tell(monkeypatch):
    args, options = operands("linear", 384, 1536, 33, torch.float32)
    right = ops.linear
    monkeypatch.setattr(ops, "linear", lambda *a, **o: right(*a, **o) * (1 + 1e-5))
    with pytest.raises(AssertionError, match="linear: apart by"):
        assert_same_within_the_rule("linear", args, options)


def test_tuning_is_no_slower_than_the_fixed_tile(tuner):  # noqa: F811
    from postlude.triton.tuning import measure

    for rows in (4, 2048):
        x = tensor(rows, 4096, dtype=torch.float16, device="cuda")
        w = weight_of(8192, 4096, torch.float16, "cuda")
        times = [
            measure(lambda tuned=tuned: kernels.linear(x, w, autotune=tuned), x.device)
            for tuned in (True, False)
        ]
        assert times[0] <= 1.1 * times[1]


def test_in_a_graph_nothing_is_timed(tuner):  # noqa: F811
    x = tensor(5, 512, dtype=torch.float16, device="cuda")
    w = weight_of(512, 512, torch.float16, "cuda")
    known = kernels.linear(x, w)
    kernels.linear(x[:, :256], w[:, :256], autotune=False)  # compiled, and not timed
    before = tuner.table.path.read_bytes()
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        y = kernels.linear(x, w)
        z = kernels.linear(x[:, :256], w[:, :256])
    assert tuner.table.path.read_bytes() == before
    y.fill_(torch.nan)
    graph.replay()
    assert same_bits(y, known)
    assert_as_reference(z, reference.linear, x[:, :256], w[:, :256])


def test_on_a_stream_of_the_callers():
    x = tensor(64, 2048, dtype=torch.float16, device="cuda")
    w = weight_of(2048, 2048, torch.float16, "cuda")
    norm = LayerNorm(None, None, EPS)
    expected = kernels.qkv(x, w, norm=norm, autotune=False)
    side, late = torch.cuda.Stream(), torch.zeros_like(x)
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        torch.cuda._sleep(20_000_000)
        late.copy_(x)
        y = kernels.qkv(late, w, norm=norm, autotune=False)
    side.synchronize()
    assert same_bits(y, expected)


@pytest.mark.parametrize("large", ["x", "out", "weight", "in_out"])
def test_more_than_32_bits_can_count(large):
    m, n, k = {
        "x": (2_100_000, 24, 1032),
        "out": (65537, 32776, 64),
        "weight": (24, 2_100_000, 1032),
        "in_out": (24, 2_100_000, 1032),
    }[large]
    x, w = (
        torch.randint(-1, 2, shape, device="cuda", dtype=torch.int8).half()
        for shape in ((m, k), (n, k))
    )
    w = w.t().contiguous().t() if large == "in_out" else w
    y = kernels.linear(x, w, autotune=False)
    for rows in (slice(0, 24), slice(m - 24, m)):
        expected = x[rows] @ w.t()
        assert torch.equal(y[rows], expected)


def test_a_norm_of_more_rows_than_32_bits_can_count():
    x = torch.randn(2_100_000, 1032, device="cuda", dtype=torch.float16)
    n, r = kernels.norm(x, LayerNorm(None, None, EPS), residual=x)
    for rows in (slice(0, 24), slice(-24, None)):
        actual = (n[rows], r[rows])
        norm = LayerNorm(None, None, EPS)
        assert_as_reference(actual, reference.norm, x[rows], norm, residual=x[rows])


def test_a_module_on_the_cpu_is_left_to_the_other_kernels(caplog):
    config = deepspeed.DeepSpeedInferenceConfig(64, 96, dtype=torch.float16)
    x = tensor(3, 64, dtype=torch.float16)
    mlp, other = (kind(config).cpu() for kind in (deepspeed.TritonMLP, deepspeed.DeepSpeedMLP))
    for parameter in mlp.parameters():
        parameter.normal_(0, 0.1)
    other.load_state_dict(mlp.state_dict())
    y = mlp(x, x, None, None)
    assert "a tensor on cpu" in caplog.text
    torch.testing.assert_close(y, other(x, x, None, None), rtol=2e-3, atol=2e-3)


def test_the_interpreter_is_off():
    assert not launch._interpreted()
    assert "triton" in sys.modules
