"""Streams, events, CUDA graphs and programmatic launches: always the bits of calls made one by one;
collected on GPU machines only. As a program it prints a hash of its results."""

import functools
import gc
import hashlib
import os
import random
import subprocess
import sys

import cases
import pytest
import torch
from cases import EPS, tensor

from postlude import LayerNorm, RMSNorm, ops

HIDDEN, INNER = 768, 2048
ROWS = (1, 3, 16, 33, 64, 129, 200, 500)  # one stream each
MICROSECOND = 2000  # of torch.cuda._sleep, about

EVERY_DTYPE = pytest.mark.parametrize("dtype", cases.DTYPES, ids=str)


class Layer:
    """qkv, linear and mlp in a row, each into a buffer of the caller's; ``options`` go to all."""

    def __init__(self, hidden, inner, dtype, device="cuda", **options):
        v = tensor(hidden, dtype=dtype, device=device, scale=0.1) + 1
        self.hidden = hidden
        self.qkv = ops.Qkv(
            cases.weight(3 * hidden, hidden, dtype, device),
            v.repeat(3),
            norm=RMSNorm(v, EPS),
            **options,
        )
        self.linear = ops.Linear(
            cases.weight(hidden, 3 * hidden, dtype, device), v, activation="gelu", **options
        )
        self.mlp = ops.Mlp(
            cases.weight(2 * inner, hidden, dtype, device),
            cases.weight(hidden, inner, dtype, device),
            activation="silu",
            gated=True,
            norm=LayerNorm(v, v, EPS),
            **options,
        )

    def buffers(self, x):
        """What the three write."""
        return [x.new_empty(len(x), n) for n in (3 * self.hidden, self.hidden, self.hidden)]

    def __call__(self, x, buffers, between=lambda: None):
        """mlp(linear(qkv(x), x)), in the last buffer; what the buffers held before is NaN."""
        a, b, y = buffers
        for buffer in buffers:
            buffer.fill_(torch.nan)
        between()
        self.qkv(x, out=a)
        between()
        self.linear(a, x, out=b)
        between()
        self.mlp(b, out=y)
        between()
        return y


def alone(layer, x):
    """What the layer makes of x with nothing beside it."""
    torch.cuda.synchronize()
    y = layer(x, layer.buffers(x))
    torch.cuda.synchronize()
    return y


def captured(function, stream):
    """A graph of what the function does on the stream, after it has run there once."""
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        function()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        function()
    return graph


@EVERY_DTYPE
@pytest.mark.parametrize("replayed", [False, True])
def test_eight_streams_at_once(replayed, dtype):
    layer = Layer(HIDDEN, INNER, dtype)
    inputs = [tensor(m, HIDDEN, dtype=dtype, device="cuda") for m in ROWS]
    expected = [alone(layer, x) for x in inputs]
    streams = [torch.cuda.Stream() for _ in inputs]
    buffers = [layer.buffers(x) for x in inputs]
    runs = [functools.partial(layer, x, b) for x, b in zip(inputs, buffers, strict=True)]
    if replayed:
        graphs = [captured(run, stream) for run, stream in zip(runs, streams, strict=True)]
        runs = [graph.replay for graph in graphs]
    order, generator = list(range(len(inputs))), random.Random(0)
    for _ in range(20):
        generator.shuffle(order)
        torch.cuda.synchronize()
        for i in order:
            with torch.cuda.stream(streams[i]):
                buffers[i][-1].fill_(torch.nan)
                torch.cuda._sleep(500 * MICROSECOND)  # the first waits until the last is there
                runs[i]()
                runs[i]()
        torch.cuda.synchronize()
        for m, b, y in zip(ROWS, buffers, expected, strict=True):
            assert cases.same_bits(b[-1], y), m


def forked(layer, x, side, buffers):
    """qkv on a side stream, meanwhile mlp on this one, and then the linear that needs both."""
    a, b, y = buffers
    main = torch.cuda.current_stream()
    side.wait_stream(main)
    with torch.cuda.stream(side):
        a.fill_(torch.nan)
        torch.cuda._sleep(100 * MICROSECOND)
        layer.qkv(x, out=a)
    layer.mlp(x, out=y)
    main.wait_stream(side)
    layer.linear(a, y, out=b)
    return b


@EVERY_DTYPE
@pytest.mark.parametrize("replayed", [False, True])
@pytest.mark.parametrize("m", [1, 16, 200])
def test_a_side_stream(m, replayed, dtype):
    layer = Layer(HIDDEN, INNER, dtype)
    inputs = [tensor(m, HIDDEN, dtype=dtype, device="cuda") for _ in range(2)]
    expected = [layer.linear(layer.qkv(x), layer.mlp(x)) for x in inputs]
    main, side = torch.cuda.Stream(), torch.cuda.Stream()
    x, buffers, results = inputs[0].clone(), layer.buffers(inputs[0]), []
    run = functools.partial(forked, layer, x, side, buffers)
    if replayed:
        graph = captured(run, main)
        run = graph.replay
    torch.cuda.synchronize()
    with torch.cuda.stream(main):
        for i in range(20):
            x.copy_(inputs[i % 2])  # another x each time: old results differ
            run()
            results.append(buffers[1].clone())
    torch.cuda.synchronize()
    for i, b in enumerate(results):
        assert cases.same_bits(b, expected[i % 2]), i


@EVERY_DTYPE
@pytest.mark.parametrize("m", [1, 16, 129])
def test_random_delays(m, dtype):
    layer, generator = Layer(HIDDEN, INNER, dtype), random.Random(m)
    inputs = [tensor(m, HIDDEN, dtype=dtype, device="cuda") for _ in range(2)]
    expected = [alone(layer, x) for x in inputs]
    x, buffers, results = inputs[0].clone(), layer.buffers(inputs[0]), []

    def wait():
        if generator.random() < 0.7:
            torch.cuda._sleep(generator.randrange(1, 50 * MICROSECOND))

    for i in range(60):
        x.copy_(inputs[i % 2])
        results.append(layer(x, buffers, wait).clone())
    torch.cuda.synchronize()
    for i, y in enumerate(results):
        assert cases.same_bits(y, expected[i % 2]), i


def calls(m, dtype):
    """Calls of every op into outputs that exist, by name."""
    x, other = (tensor(m, HIDDEN, dtype=dtype, device="cuda") for _ in range(2))
    weight, back = (
        cases.weight(n, k, dtype, "cuda") for n, k in ((INNER, HIDDEN), (HIDDEN, INNER))
    )
    gated, square = (cases.weight(n, HIDDEN, dtype, "cuda") for n in (2 * INNER, HIDDEN))
    v = tensor(HIDDEN, dtype=dtype, device="cuda")
    norm = LayerNorm(v, v, EPS)
    folded = ops.pack_weight(weight, norm=norm)
    wide, out = x.new_empty(m, INNER), x.new_empty(m, HIDDEN)
    return {
        "linear": lambda: ops.linear(x, weight, activation="gelu", out=wide),
        "gated": lambda: ops.linear(x, gated, activation="silu", gated=True, out=wide),
        "in place": lambda: ops.linear(other, square, v, residual=x, out=other),
        "qkv": lambda: ops.qkv(x, weight, norm=norm, out=wide),
        "folded": lambda: ops.qkv(x, folded, norm=norm, out=wide),
        "mlp": lambda: ops.mlp(x, weight, back, activation="gelu", norm=norm, out=out),
        "norm": lambda: ops.norm(x, norm, residual=other, out=out, residual_out=other),
        "residual_add": lambda: ops.residual_add(x, other, form="pre_ln", out=out),
    }


@EVERY_DTYPE
@pytest.mark.parametrize("m", [1, 16, 300])
def test_no_call_waits_for_the_gpu(m, dtype):
    every = calls(m, dtype)
    for call in every.values():
        call()
    torch.cuda.synchronize()
    torch.cuda._sleep(200_000 * MICROSECOND)
    for name, call in every.items():
        call()
        assert not torch.cuda.current_stream().query(), name
    torch.cuda.synchronize()


@EVERY_DTYPE
@pytest.mark.parametrize("m", [1, 16, 300])
def test_no_call_allocates(m, dtype):
    # While a stream captures, CUDA refuses to allocate or to wait.
    for name, call in calls(m, dtype).items():
        graph = captured(call, torch.cuda.Stream())
        gc.collect()  # what earlier tests left behind is not freed in between
        allocated = torch.cuda.memory_allocated()
        for _ in range(10):
            graph.replay()
            call()
        torch.cuda.synchronize()
        assert torch.cuda.memory_allocated() == allocated, name


if torch.cuda.device_count() > 1:

    @EVERY_DTYPE
    @pytest.mark.parametrize("index", range(1, torch.cuda.device_count()))
    def test_another_device(index, dtype):
        device = f"cuda:{index}"
        state = torch.get_rng_state()
        here = Layer(HIDDEN, INNER, dtype, "cuda:0")
        torch.set_rng_state(state)
        there = Layer(HIDDEN, INNER, dtype, device)
        for m in (1, 16, 200):
            x = tensor(m, HIDDEN, dtype=dtype)
            expected = alone(here, x.to("cuda:0"))
            x = x.to(device)
            buffers = there.buffers(x)
            y = there(x, buffers).clone()
            torch.cuda.synchronize(device)
            assert torch.cuda.current_device() == 0
            assert y.device == x.device
            if torch.cuda.get_device_name(0) == torch.cuda.get_device_name(index):
                assert cases.same_bits(y.cpu(), expected.cpu())
            else:
                cases.assert_accurate(y.cpu(), expected.cpu().double(), expected.cpu())
            with torch.cuda.device(device):
                graph = captured(functools.partial(there, x, buffers), torch.cuda.Stream())
                graph.replay()
                torch.cuda.synchronize()
            assert cases.same_bits(buffers[-1], y)


def digest():
    """A hash of what a layer makes of few and many rows; each result is the same in 100 replays,
    and whether or not its weights are promised to stay as they are."""
    stream, sums = torch.cuda.Stream(), hashlib.sha256()
    for dtype in cases.DTYPES:
        layers = []
        for static in (True, False):
            torch.manual_seed(0)
            layers.append(Layer(512, 1408, dtype, weights_static=static))
        for m in (1, 2, 5, 8, 37, 64, 96, 200, 1000):
            x = tensor(m, 512, dtype=dtype, device="cuda")
            first, different = alone(layers[0], x), torch.zeros((), device="cuda").bool()
            for layer in layers:
                buffers = layer.buffers(x)
                graph = captured(functools.partial(layer, x, buffers), stream)
                for _ in range(100):
                    graph.replay()
                    different |= (cases.on_bits(buffers[-1]) != cases.on_bits(first)).any()
            assert not different, (dtype, m)
            sums.update(cases.on_bits(first).cpu().numpy().tobytes())
    return sums.hexdigest()


def test_the_same_bits_without_programmatic_launches():
    other = "1" if os.environ.get("POSTLUDE_PDL") == "0" else "0"
    result = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "POSTLUDE_PDL": other},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[-1] == digest()


if __name__ == "__main__":
    print(digest())
