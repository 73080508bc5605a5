"""Blocks at the row counts of decoding: races that poison and delays would show, weights written
just ahead of a call, and rows whose bits do not depend on the batch; collected on GPU machines
only."""

import functools
import random

import cases
import pytest
import torch
from cases import EPS, tensor
from test_gpu_streams import EVERY_DTYPE, MICROSECOND, Layer, alone, captured

from postlude import RMSNorm, ops

HIDDEN, INNER = 1024, 2824  # no multiple of 128, which a stage of the product has
ROWS = (1, 2, 8, 37, 96)
REPLAYS = 1000


def differ(actual, expected):
    """Whether any bit differs, as a tensor on the GPU."""
    return (cases.on_bits(actual) != cases.on_bits(expected)).any()


# A capture has a pool of memory for itself, in which what was freed last is handed out next; blocks
# of up to a MiB lie apart from larger ones.
BLOCKS = (1 << 20, 16 << 20)


def poison():
    """Within a capture: fills with NaN the memory that the next calls take for their workspace."""
    for size in BLOCKS:
        torch.full((size,), -1, dtype=torch.int8, device="cuda")


def poison_gone():
    """Whether something was written where ``poison`` was, as a tensor on the GPU."""
    small, large = (
        (torch.empty(size, dtype=torch.int8, device="cuda") != -1).any() for size in BLOCKS
    )
    return small | large


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("m", ROWS)
def test_a_thousand_replays_over_poison(m, dtype):
    layer, generator = Layer(HIDDEN, INNER, dtype), random.Random(m)
    inputs = [tensor(m, HIDDEN, dtype=dtype, device="cuda") for _ in range(2)]
    expected = [alone(layer, x) for x in inputs]
    buffers = layer.buffers(inputs[0])
    wrong, used = torch.zeros(2, dtype=torch.int64, device="cuda")

    def run(delays):
        def between():
            if delays:
                torch.cuda._sleep(generator.randrange(1, 30 * MICROSECOND))

        for x, y in zip(inputs, expected, strict=True):  # in turn: old results differ
            poison()
            result = layer(x, buffers, between)
            used.add_(poison_gone())
            wrong.add_(differ(result, y))

    stream = torch.cuda.Stream()
    tight, loose = (captured(functools.partial(run, delays), stream) for delays in (False, True))
    wrong.zero_()
    used.zero_()
    for _ in range(REPLAYS):
        if generator.random() < 0.1:
            torch.cuda._sleep(generator.randrange(1, 20 * MICROSECOND))
        (loose if generator.random() < 0.2 else tight).replay()
    assert wrong.item() == 0
    assert used.item() == 2 * REPLAYS, "the workspaces were not where the poison was"


def by_torch(weight, out):
    out.copy_(weight)


def by_postlude(weight, out):
    """A programmatic launch, which lets the next kernel start before it has written."""
    ops.norm(weight, None, out=out)


@EVERY_DTYPE
@pytest.mark.parametrize(
    ("write", "static"), [(by_torch, True), (by_torch, False), (by_postlude, False)]
)
def test_weights_written_just_ahead_of_a_call(write, static, dtype):
    # A static weight is none that another op has just written.
    hidden, inner = 512, 1408
    shapes = ((3 * hidden, hidden), (2 * inner, hidden), (hidden, inner))
    versions = [[cases.weight(*s, dtype, "cuda") for s in shapes] for _ in range(2)]
    norm = RMSNorm(tensor(hidden, dtype=dtype, device="cuda", scale=0.1) + 1, EPS)
    plain, gated = {"activation": "silu"}, {"activation": "silu", "gated": True}
    calls = [  # the weights, and the call
        ([0], lambda x, w, **more: ops.linear(x, *w, **plain, **more)),
        ([0], lambda x, w, **more: ops.qkv(x, *w, norm=norm, **more)),
        ([1, 2], lambda x, w, **more: ops.mlp(x, *w, **gated, **more)),
        ([2, 1], lambda x, w, **more: ops.mlp(x, *w[::-1], **gated, norm=norm, **more)),
    ]
    held = [torch.empty_like(weight) for weight in versions[0]]
    for m in ROWS:
        x = tensor(m, hidden, dtype=dtype, device="cuda")
        expected = [call(x, [v[i] for i in which]) for v in versions for which, call in calls]
        results = [torch.empty_like(y) for y in expected]

        def run():
            outputs = iter(results)
            for version in versions:
                for which, call in calls:
                    for i in which:
                        write(version[i], held[i])
                    out = next(outputs)
                    call(x, [held[i] for i in which], out=out, weights_static=static)

        graph = captured(run, torch.cuda.Stream())
        wrong = torch.zeros((), dtype=torch.bool, device="cuda")
        for _ in range(20):
            for buffer in (*held, *results):
                buffer.fill_(torch.nan)
            torch.cuda._sleep(5 * MICROSECOND)
            graph.replay()
            for y, exact in zip(results, expected, strict=True):
                wrong |= differ(y, exact)
        assert not wrong, m


@EVERY_DTYPE
def test_a_weight_unpacked_just_ahead_of_a_call(dtype):
    # The memory of the one before is handed out again, so that what is read too early shows.
    weights = [cases.weight(4096, 1024, dtype, "cuda") for _ in range(2)]
    packed = [ops.pack_weight(weight) for weight in weights]
    for m in ROWS:
        x = tensor(m, 1024, dtype=dtype, device="cuda")
        expected = [ops.linear(x, weight) for weight in weights]
        wrong = torch.zeros((), dtype=torch.bool, device="cuda")
        for i in range(50):
            weight = packed[i % 2].unpack()
            wrong |= differ(ops.linear(x, weight), expected[i % 2])
            del weight
        assert not wrong, m


@EVERY_DTYPE
def test_rows_do_not_depend_on_the_batch(dtype):
    everything = tensor(8192, HIDDEN, dtype=dtype, device="cuda")
    layer = Layer(HIDDEN, INNER, dtype, batch_invariant=True)
    expected = layer.buffers(everything)
    layer(everything, expected)
    for m in (1, 2, 3, 8, 16, 17, 48, 64, 65, 128, 129, 1000, 8192):
        for first in {0, (8192 - m) // 2, 8192 - m}:
            rows = slice(first, first + m)
            buffers = layer.buffers(everything[rows])
            layer(everything[rows], buffers)
            for part, whole in zip(buffers, expected, strict=True):
                assert cases.same_bits(part, whole[rows]), (m, first)
