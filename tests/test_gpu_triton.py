"""The Triton kernels compiled for a GPU: every tile's bits, large tensors, streams, graphs, real
tuning; collected on GPU machines only."""

import json
import sys

import pytest
import torch
from cases import DTYPES, EPS, assert_accurate, assert_as_reference, same_bits, tensor
from cases import weight as weight_of
from triton_cases import tuner  # noqa: F401, a fixture

from postlude import LayerNorm, reference
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
