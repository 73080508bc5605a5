"""Times the MLP and QKV blocks of known models: torch eager, bound layers, ops on plain weights.

contenders.py says what they compute. Several copies of the weights take turns, as the layers of a
model do. On a GPU these times include the host's part; gpu_blocks.py has the kernels' alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import contenders
import timing
import torch
from contenders import DTYPES, TOLERANCE, Call, Tensor
from shapes import MODELS, Shape

TIE = 0.97


def new_blocks(kind: str, shape: Shape, **where: Any) -> dict[str, Call]:
    """One copy of a block, as every contender computes it."""
    copy = contenders.new_copy(kind, shape, **where)
    return {
        "torch": contenders.on(contenders.forms(kind, shape)["eager"], copy.weights),
        "bound": copy.bound,
        "plain": contenders.plain(kind, shape, copy.weights),
    }


def check(blocks: dict[str, Call], x: Tensor, limit: float) -> None:
    """Raises ValueError where a contender computes something else than torch does."""
    expected = blocks["torch"](x).double()
    for name, block in blocks.items():
        error = float((block(x).double() - expected).norm() / expected.norm())
        if not error <= limit:
            raise ValueError(f"{name}: relative error {error:.1e}, allowed {limit:.0e}")


def in_turn(copies: list[Call], x: Tensor) -> Callable[[], Tensor]:
    """A call that uses another copy of the weights each time."""
    cycle = itertools.cycle(copies)
    return lambda: next(cycle)(x)


def measure(arguments: Any) -> Iterator[dict[str, Any]]:
    """One record for every model, block, dtype and M asked for."""
    wait = torch.cuda.synchronize if arguments.device == "cuda" else int
    kinds = itertools.product(arguments.models, arguments.blocks, arguments.dtypes)
    for model, kind, name in kinds:
        shape, where = MODELS[model], {"dtype": DTYPES[name], "device": arguments.device}
        torch.manual_seed(0)
        copies = [new_blocks(kind, shape, **where) for _ in range(arguments.copies)]
        for m in arguments.m:
            x = torch.randn(m, shape.hidden, **where)
            for blocks in copies:
                check(blocks, x, TOLERANCE[name])
            calls = {who: in_turn([copy[who] for copy in copies], x) for who in copies[0]}
            times = timing.interleaved(calls, rounds=arguments.rounds, wait=wait)
            yield {
                "model": model,
                "block": kind,
                "dtype": name,
                "m": m,
                "us": {who: timing.MICRO * timing.median(times[who]) for who in times},
                "bound_speedup": timing.speedup(times, "bound", "torch"),
                "plain_speedup": timing.speedup(times, "plain", "torch"),
            }


def row(record: dict[str, Any]) -> list[str]:
    """A record as cells of the table."""
    us = record["us"]
    return [
        f"{record['model']} {record['block']} {record['dtype']}",
        str(record["m"]),
        f"{us['torch']:.1f}",
        f"{us['bound']:.1f}",
        f"{record['bound_speedup']:.2f}{'' if record['bound_speedup'] >= TIE else ' <'}",
        f"{us['plain']:.1f}",
        f"{record['plain_speedup']:.2f}",
    ]


def main() -> None:
    """Measures, prints the table and writes the JSON file."""
    parser = timing.parser(__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["bert-base"])
    parser.add_argument("--blocks", nargs="+", choices=contenders.KINDS, default=contenders.KINDS)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["fp32", "bf16"])
    parser.add_argument("--m", nargs="+", type=int, default=[1, 16, 128, 1024], help="rows of x")
    parser.add_argument(
        "--copies", type=int, default=32, help="copies of the weights (default: 32)"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()

    records = []
    with torch.inference_mode():
        for record in measure(arguments):
            records.append(record)
            print(".", end="", flush=True)
    header = ["block", "M", "torch us", "bound us", "speed-up", "plain us", "speed-up"]
    print("\n" + timing.table(header, [row(record) for record in records]))
    bound, plain = (
        timing.geometric_mean(record[key] for record in records)
        for key in ("bound_speedup", "plain_speedup")
    )
    slower = sum(record["bound_speedup"] < TIE for record in records)
    print(f"\ngeometric mean of the speed-ups: bound {bound:.2f}, plain {plain:.2f}")
    print(f"cells where bound is slower than torch (marked <): {slower} of {len(records)}")
    means = {"bound": bound, "plain": plain}
    timing.save({"records": records, "geometric_mean": means}, arguments.json)


if __name__ == "__main__":
    main()
