"""CUDA graphs of benchmark calls, the time of their replays by events, and the GPU's ceilings.

A graph holds calls for each copy of the weights in turn, of so many copies that the L2 cache serves
none of them, and goes round as often as it takes to make its own start small beside them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import timing
import torch

DEVICE = "cuda"
ROTATED_BYTES = 200_000_000  # over three times the 60 MB of an H200's L2
# A graph's start takes some microseconds, which the calls of a short one would share.
GRAPH_US = 1000.0
MOST_CALLS = 256


class Captured(NamedTuple):
    """A graph, how many calls it holds, the first call's result, and what the graph works on."""

    graph: Any
    calls: int
    first: Any
    kept: tuple[Any, ...] = ()


def copies_beyond_cache(size: int) -> int:
    """How many copies of ``size`` bytes take turns: at least 2."""
    return max(2, math.ceil(ROTATED_BYTES / max(size, 1)))


def times_round(copies: int, us: float) -> int:
    """How many times a graph goes through the copies, for a call of ``us`` microseconds or more."""
    return max(1, min(math.ceil(GRAPH_US / (copies * us)), MOST_CALLS // copies))


@functools.cache
def capture_stream() -> Any:
    """The one stream of all captures: libraries keep a workspace for each stream."""
    return torch.cuda.Stream()


def capture(calls: Sequence[Callable[[], Any]], *, apart: bool = False) -> Captured:
    """The calls as one graph, replayed once; each is made once before, to warm up.

    ``apart`` puts a tiny kernel of torch's between them: what a call would start before the last
    one ends (a prefetch of its weights, say) then waits, and the tiny kernel's time is counted.
    """
    stream, graph = capture_stream(), torch.cuda.CUDAGraph()
    counter = torch.zeros(1, device=DEVICE)
    stream.wait_stream(torch.cuda.current_stream())
    # A capture that fails does not leave its stream; the outer context does.
    with torch.cuda.stream(torch.cuda.current_stream()):
        with torch.cuda.stream(stream):
            counter.add_(1)
            for call in calls:
                call()
        with torch.cuda.graph(graph, stream=stream):
            first = calls[0]()
            for call in calls[1:]:
                if apart:
                    counter.add_(1)
                call()
            if apart:
                counter.add_(1)
    torch.cuda.current_stream().wait_stream(stream)
    graph.replay()
    torch.cuda.synchronize()
    return Captured(graph, len(calls), first, (*calls, counter))


def replays(graph: Any, times: int) -> float:
    """Milliseconds that the replays take; where there are several, one more starts the turn.

    That one keeps the device busy while the host queues the others.
    """
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    if times > 2:
        graph.replay()
    start.record()
    for _ in range(times):
        graph.replay()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def interleaved(
    contenders: Mapping[str, Captured], *, rounds: int, turn_ms: float = 10.0
) -> timing.Times:
    """Microseconds a call of every contender, one value a round; each round starts with another."""
    counts = {}
    for name, captured in contenders.items():
        counts[name] = max(1, round(turn_ms / max(replays(captured.graph, 1), 1e-3)))
    order = list(contenders)
    times: timing.Times = {name: [] for name in order}
    for _ in range(rounds):
        for name in order:
            captured = contenders[name]
            ms = replays(captured.graph, counts[name])
            times[name].append(1e3 * ms / (counts[name] * captured.calls))
        order.append(order.pop(0))
    return times


def medians(contenders: Mapping[str, Captured], *, repeats: int, **how: Any) -> timing.Times:
    """For every contender the median microseconds a call of each repeat."""
    runs = [interleaved(contenders, **how) for _ in range(repeats)]
    return {name: [timing.median(run[name]) for run in runs] for name in contenders}


def read_bandwidth(size: int = 4 << 30) -> float:
    """Bytes a second that torch.sum reads."""
    data = torch.empty(size // 2, dtype=torch.bfloat16, device=DEVICE).normal_()
    captured = capture([lambda: torch.sum(data)])
    return size / min(replays(captured.graph, 3) / 3e3 for _ in range(5))


def copy_bandwidth(size: int = 2 << 30) -> float:
    """Bytes a second that a copy on the device reads and writes together."""
    source = torch.empty(size // 2, dtype=torch.bfloat16, device=DEVICE).normal_()
    target = torch.empty_like(source)
    captured = capture([lambda: target.copy_(source)])
    return 2 * size / min(replays(captured.graph, 3) / 3e3 for _ in range(5))


def matmul_rate(dtype: torch.dtype, size: int = 8192) -> float:
    """Operations a second of torch's product of two random square matrices."""
    a, b = (torch.randn(size, size, dtype=dtype, device=DEVICE) for _ in range(2))
    captured = capture([lambda: torch.nn.functional.linear(a, b)])
    return 2 * size**3 / min(replays(captured.graph, 8) / 8e3 for _ in range(5))
