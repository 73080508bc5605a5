"""Makes the same right and wrong calls again and again: each does each time what it did the first
time, and memory stays flat.

Usage: python fuzz/soak.py [--calls N] [--pool N] [--seed N] [--device cpu|cuda] [--fresh]

Watched are the blocks that Python has allocated, the process's memory, and on a GPU what is
allocated and what is free there. The first rounds warm up: they make what is made once and kept.
With ``--fresh`` no two calls are the same; what is kept must have reached its bound after half of
the calls, of which there must be enough for that (16,000).
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import random
import sys
import warnings
from pathlib import Path
from typing import Any

import hostile
import torch

WARM_UP = 3  # rounds
MOST_BYTES = 4 << 20
MOST_FRESH_BYTES = 16 << 20  # caches that are full change what they hold
# Of Python's blocks: tables of frameworks grow a little and then no more. One block left behind by
# each call of one kind would be more than one for each 15 calls.
MOST_BLOCKS, CALLS_PER_BLOCK = 200, 20
MIB = 1 << 20


def told(call: hostile.Call) -> tuple[Any, ...]:
    """What a call did, in a form that can be compared to the bit."""
    found = hostile.outcome(call)
    if isinstance(found, Exception):
        return type(found), str(found) if call.op in str(found) else ""
    return tuple(bits(tensor) for tensor in found)


def bits(tensor: Any) -> tuple[Any, ...]:
    """A tensor's type, shape and a checksum of its bytes."""
    if isinstance(tensor, torch.Tensor):
        # A single element counts as contiguous whatever its stride; a view as bytes minds.
        packed = tensor.cpu().clone(memory_format=torch.contiguous_format)
        tensor = packed.reshape(-1).view(torch.uint8).numpy()
    if not hasattr(tensor, "tobytes"):  # a capsule or what lends one
        return (type(tensor),)
    return type(tensor), tensor.shape, hash(tensor.tobytes())


def resident() -> int:
    """Bytes of the process that lie in memory, after the allocator gave back what it could."""
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measured(device: str) -> dict[str, int]:
    """What must not grow."""
    gc.collect()
    found = {"blocks": sys.getallocatedblocks(), "bytes": resident()}
    if device != "cpu":
        torch.cuda.synchronize()
        found["allocated on the GPU"] = torch.cuda.memory_allocated()
        free, total = torch.cuda.mem_get_info()
        found["used on the GPU"] = total - free
    return found


def refuse_growth(growth: dict[str, int], calls: int, most_bytes: int = MOST_BYTES) -> None:
    """AssertionError where something grew by more than it may over so many calls."""
    for name, grown in growth.items():
        limit = most_bytes
        if name == "blocks":
            limit = max(MOST_BLOCKS, calls // CALLS_PER_BLOCK)
        elif name == "allocated on the GPU":
            limit = 0
        assert grown <= limit, f"{name}: grew by {grown}, expected at most {limit}"


def same_calls(options: argparse.Namespace) -> tuple[dict[str, int], dict[str, int], int]:
    """What was measured after the first rounds and in the end, and the number of calls."""
    maker = hostile.Maker(random.Random(options.seed), options.device)
    pool = [maker.call() for _ in range(options.pool)]
    first = [told(call) for call in pool]
    right = sum(call.right for call in pool)
    assert 0.2 < right / len(pool) < 0.9, f"{right} of {len(pool)} calls are right"
    rounds = max(WARM_UP + 1, options.calls // options.pool)
    start: dict[str, int] = {}
    for number in range(rounds):
        if number == WARM_UP:
            start = measured(options.device)
        for index, call in enumerate(pool):
            again = told(call)
            assert again == first[index], f"call {index} of {call.op}: {first[index]}, then {again}"
    return start, measured(options.device), rounds * len(pool)


def fresh_calls(options: argparse.Namespace) -> tuple[dict[str, int], dict[str, int], int]:
    """The same of calls that come once each, from half of them on."""
    maker = hostile.Maker(random.Random(options.seed), options.device)
    for _ in range(options.calls // 2):
        hostile.outcome(maker.call())
    start = measured(options.device)
    for _ in range(options.calls // 2):
        hostile.outcome(maker.call())
    return start, measured(options.device), options.calls


def main() -> None:
    """Prints what was done; AssertionError where something changed or grew."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--pool", type=int, default=400, help="different calls")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--fresh", action="store_true", help="no two calls are the same")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    start, end, calls = (fresh_calls if options.fresh else same_calls)(options)
    growth = {name: end[name] - start[name] for name in end}
    said = ", ".join(f"{name} {growth[name]:+d}" for name in growth)
    print(f"{calls} calls on {options.device}: {said} (of {start['bytes'] / MIB:.0f} MiB)")
    refuse_growth(growth, calls, MOST_FRESH_BYTES if options.fresh else MOST_BYTES)


if __name__ == "__main__":
    main()
