"""Times calls against one another: CUDA graphs on a GPU, in turns, and the median counts."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence

Replay = Callable[[], object]

CACHE_BYTES = 256 << 20  # more than the largest cache
MOST_COPIES = 32


def copies_of(weight_bytes: int) -> int:
    """How many copies of a weight no cache holds together."""
    return min(max(math.ceil(CACHE_BYTES / weight_bytes), 1), MOST_COPIES)


def waiter(device: str) -> Replay:
    """Waits for the device's work."""
    import torch

    return int if device == "cpu" else lambda: torch.cuda.synchronize(device)


def replay(calls: Sequence[Replay], device: str) -> Replay:
    """All calls after one another: in a CUDA graph, or as they are."""
    import torch

    def every() -> None:
        for call in calls:
            call()

    every()
    if device == "cpu":
        return every
    with torch.cuda.device(device):
        graph = torch.cuda.CUDAGraph()
        # Calls of other threads, a framework's say, do not end the capture.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            every()
    return graph.replay


def seconds_of(one: Replay, times: int, wait: Replay) -> float:
    """Seconds that a replay takes, over so many."""
    wait()
    start = time.perf_counter()
    for _ in range(times):
        one()
    wait()
    return (time.perf_counter() - start) / times


def take_turns(
    replays: dict[str, Replay], rounds: int, wait: Replay, turn: float = 0.02
) -> dict[str, float]:
    """Median seconds of each; a turn lasts about ``turn`` seconds, the first does not count."""
    counts = {}
    for name, one in replays.items():
        counts[name] = max(1, math.ceil(turn / max(seconds_of(one, 2, wait), 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in replays}
    order = list(replays)
    for _ in range(rounds):
        for name in order:
            times[name].append(seconds_of(replays[name], counts[name], wait))
        order.append(order.pop(0))
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def progress(text: str, done: int = 0, total: int = 0) -> None:
    """Shows a line on a terminal, with a bar where there is a total; "" takes it away."""
    if not sys.stderr.isatty():
        return
    bar = ""
    if total > 0:
        filled = 24 * done // total
        bar = f"[{'#' * filled}{'.' * (24 - filled)}] {done}/{total} "
    print(f"\r\033[K{bar}{text}", end="", file=sys.stderr, flush=True)
