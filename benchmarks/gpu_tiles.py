"""Times a block with every tile of each of its products in turn: where the table's entries that say
"in the block" come from (src/cuda/gemm/sm90_overrides.hpp).

    python benchmarks/gpu_tiles.py --m 1000 1024 [--models gpt2-xl] [--passes 2] [--json FILE]

A product's neighbours matter: what they leave in the caches, how early the next kernel starts. So
each product's tiles are timed in the bound layer, as graphs that take turns, the other product with
the best tile found so far; a second pass begins again from there. Peers are timed beside them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import contenders
import graphs
import timing
import torch
from contenders import DTYPES
from shapes import MODELS

from postlude import tuning
from postlude._interop import _C
from postlude.cli.tune import Problem, problems_of

NAMES = {"bf16": "bf16", "fp16": "f16"}  # of dtypes in tune files
PEERS = ("eager", "cublaslt")
SHIPPED = "as chosen"


def products(kind: str, shape: Any, m: int, dtype: str) -> list[Problem]:
    """The block's products, in order, as tune files name them."""
    _, qkv, first, second = problems_of(shape, [m], NAMES[dtype])
    return [qkv] if kind == "qkv" else [first, second]


@contextlib.contextmanager
def tiles(chosen: dict[str, str]) -> Iterator[None]:
    """Inside, the products of these keys take these tiles."""
    lines = (f"{key} {tile} us=1 shipped_us=1\n" for key, tile in chosen.items())
    with tuning.using(_C.TuneTable.parse(_C.tune_header(0) + "".join(lines), "tiles")):
        yield


class Block:
    """One block with a number of rows, and the copies of its weights."""

    def __init__(self, kind: str, shape: Any, dtype: str, copies: list[contenders.Copy]) -> None:
        self.kind, self.shape, self.dtype, self.copies = kind, shape, dtype, copies

    def graph(self, name: str, x: torch.Tensor, times: int) -> graphs.Captured:
        """The calls of a contender."""
        with contenders.library(name):
            calls = contenders.calls(name, self.kind, self.shape, self.copies) * times
            return graphs.capture([partial(call, x) for call in calls])

    def measure(self, m: int, options: Any) -> list[dict[str, Any]]:
        """A record for each product and pass: microseconds of the block by the product's tile."""
        x = torch.randn(m, self.shape.hidden, dtype=DTYPES[self.dtype], device=graphs.DEVICE)
        operations = 2 * m * contenders.weight_count(self.kind, self.shape)
        times = graphs.times_round(len(self.copies), max(operations / 7.9e8, 5.0))
        best: dict[str, str] = {}
        records = []
        for turn in range(options.passes):
            for product in products(self.kind, self.shape, m, self.dtype):
                key = product.key
                others = {name: tile for name, tile in best.items() if name != key}
                captured = {} if turn else {name: self.graph(name, x, times) for name in PEERS}
                for tile in (SHIPPED, *_C.tune_tiles(key, 0)):
                    with tiles(others if tile == SHIPPED else {**others, key: tile}):
                        captured[tile] = self.graph("bound", x, times)
                us = graphs.medians(captured, repeats=1, rounds=options.rounds, turn_ms=3.0)
                found = {name: values[0] for name, values in us.items()}
                peers = {name: found.pop(name) for name in PEERS if name in found}
                order = sorted(found, key=lambda name: found[name])
                if order[0] != SHIPPED:
                    best[key] = order[0]
                records.append({"key": key, "pass": turn, "peers": peers, "us": found})
                said = ", ".join(f"{found[name]:.1f} {name}" for name in order[:4])
                print(f"{key}: {found[SHIPPED]:.1f} as chosen; {said}; {peers}", flush=True)
        return records


@torch.inference_mode()
def main() -> None:
    """Measures and prints every block."""
    parser = timing.parser(__doc__, rounds=3)
    parser.add_argument("--m", type=int, nargs="+", required=True)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--blocks", nargs="+", choices=contenders.KINDS, default=contenders.KINDS)
    parser.add_argument("--dtype", choices=NAMES, default="bf16")
    parser.add_argument("--passes", type=int, default=1)
    options = parser.parse_args()
    records = []
    for model in options.models:
        for kind in options.blocks:
            shape = MODELS[model]
            size = contenders.weight_count(kind, shape) * DTYPES[options.dtype].itemsize
            where = {"dtype": DTYPES[options.dtype], "device": graphs.DEVICE}
            copies = [
                contenders.new_copy(kind, shape, **where)
                for _ in range(graphs.copies_beyond_cache(size))
            ]
            block = Block(kind, shape, options.dtype, copies)
            for m in options.m:
                found = block.measure(m, options)
                records += [{"model": model, "block": kind, "m": m, **one} for one in found]
                timing.save({"records": records}, options.json)


if __name__ == "__main__":
    main()
