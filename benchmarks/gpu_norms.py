"""Measures how much of a copy's bandwidth the norms and residual sums reach on a GPU.

Each cell is compared with torch's copy on the device of as many bytes of x, in turns, as graph
replays over buffers that the L2 cache cannot hold; bytes read and written both count.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import graphs
import timing
import torch
from contenders import DTYPES

from postlude import LayerNorm, RMSNorm, ops, reference

EPS = 1e-5
TOLERANCE = {"fp32": 1e-5, "bf16": 8e-3, "fp16": 1e-3}
MEGABYTES = [1, 4, 16, 64, 256]
HIDDEN = [768, 1000, 1600, 4096, 8192, 65536]

Tensor = torch.Tensor


class Kind(NamedTuple):
    """An operation: how many tensors of x's size it moves, and how it is called."""

    moved: int
    call: Callable[..., Any]


class Buffers(NamedTuple):
    """One set of operands and outputs."""

    x: Tensor
    residual: Tensor
    attention: Tensor
    out: Tensor
    residual_out: Tensor
    weight: Tensor
    bias: Tensor


def norm_of(b: Buffers, layer: bool) -> LayerNorm | RMSNorm:
    """A norm on the buffers' weights."""
    return LayerNorm(b.weight, b.bias, EPS) if layer else RMSNorm(b.weight, EPS)


def norm(layer: bool, b: Buffers, by: Any = ops) -> Any:
    """n = norm(x)."""
    return by.norm(b.x, norm_of(b, layer), **outputs(by, out=b.out))


def add_norm(layer: bool, b: Buffers, by: Any = ops) -> Any:
    """r = x + residual; n = norm(r)."""
    into = outputs(by, out=b.out, residual_out=b.residual_out)
    return by.norm(b.x, norm_of(b, layer), residual=b.residual, **into)


def add(b: Buffers, by: Any = ops) -> Any:
    """x + residual."""
    return by.residual_add(b.x, b.residual, form="post_ln", **outputs(by, out=b.out))


def add_attention(b: Buffers, by: Any = ops) -> Any:
    """x + residual + the attention's output."""
    given = {"form": "pre_ln", "attention_output": b.attention}
    return by.residual_add(b.x, b.residual, **given, **outputs(by, out=b.out))


def outputs(by: Any, **given: Tensor) -> dict[str, Tensor]:
    """The outputs, where the module takes them: the reference does not."""
    return given if by is ops else {}


KINDS = {
    "layer": Kind(2, partial(norm, True)),
    "rms": Kind(2, partial(norm, False)),
    "add_layer": Kind(4, partial(add_norm, True)),
    "add_rms": Kind(4, partial(add_norm, False)),
    "residual_add": Kind(3, add),
    "residual_add_attention": Kind(4, add_attention),
}


def new_buffers(rows: int, hidden: int, **where: Any) -> Buffers:
    """Random operands, and room for the results."""
    x, residual, attention = (torch.randn(rows, hidden, **where) for _ in range(3))
    out, residual_out = (torch.empty_like(x) for _ in range(2))
    weight, bias = torch.randn(hidden, **where) + 1, torch.randn(hidden, **where)
    return Buffers(x, residual, attention, out, residual_out, weight, bias)


def error(kind: str, b: Buffers) -> float:
    """The largest relative error against float64 of the results, written over NaN."""
    expected = KINDS[kind].call(Buffers(*(tensor.double() for tensor in b)), by=reference)
    b.out.fill_(torch.nan)
    b.residual_out.fill_(torch.nan)
    pairs = zip(as_tuple(KINDS[kind].call(b)), as_tuple(expected), strict=True)
    return max(float((y.double() - e).norm() / e.norm()) for y, e in pairs)


def as_tuple(value: Any) -> tuple[Tensor, ...]:
    """One or several results as a tuple."""
    return value if isinstance(value, tuple) else (value,)


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One record for every size, hidden size and kind."""
    where: dict[str, Any] = {"dtype": DTYPES[arguments.dtype], "device": graphs.DEVICE}
    for megabytes, hidden in itertools.product(arguments.megabytes, arguments.hidden):
        size = where["dtype"].itemsize
        rows = max(1, round(megabytes * 1e6 / (size * hidden)))
        moved = rows * hidden * size
        # At least two tensors of a set are moved by each kind.
        sets = [
            new_buffers(rows, hidden, **where) for _ in range(graphs.copies_beyond_cache(2 * moved))
        ]
        captured = {"copy": graphs.capture([partial(b.out.copy_, b.x) for b in sets])}
        for kind in arguments.kinds:
            captured[kind] = graphs.capture([partial(KINDS[kind].call, b) for b in sets])
        us = graphs.medians(captured, repeats=1, rounds=arguments.rounds, turn_ms=arguments.turn_ms)
        copied = 2 * moved / us["copy"][0]
        for kind in arguments.kinds:
            rate = KINDS[kind].moved * moved / us[kind][0]
            yield {
                "kind": kind,
                "dtype": arguments.dtype,
                "rows": rows,
                "hidden": hidden,
                "x_bytes": moved,
                "us": us[kind][0],
                "copy_us": us["copy"][0],
                "bytes_per_s": 1e6 * rate,
                "of_copy": rate / copied,
                "error": error(kind, sets[0]),
            }


def cells(records: list[dict[str, Any]], peak: float, dtype: str) -> str:
    """A table with a row for each size and hidden size, and a column for each kind.

    A cell is the fraction of the copy's bandwidth at this size, and of the largest copy's, with "!"
    where a result is wrong.
    """
    kinds = list(dict.fromkeys(record["kind"] for record in records))
    rows: dict[tuple[int, int], list[str]] = {}
    for record in records:
        place = (record["rows"], record["hidden"])
        head = [f"{record['rows']} x {record['hidden']}", f"{record['copy_us']:.1f}"]
        wrong = "" if record["error"] <= TOLERANCE[dtype] else "!"
        text = f"{record['of_copy']:.2f} {record['bytes_per_s'] / peak:.2f}{wrong}"
        rows.setdefault(place, head).append(text)
    return timing.table(["x", "copy us", *kinds], list(rows.values()))


def main() -> int:
    """Measures, prints the table and writes the JSON file; 1 where a result is wrong."""
    parser = timing.parser(__doc__, rounds=7)
    parser.add_argument("--megabytes", nargs="+", type=float, default=MEGABYTES, help="of x")
    parser.add_argument("--hidden", nargs="+", type=int, default=HIDDEN)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--turn-ms", type=float, default=4.0, help="a turn's time (default: 4)")
    arguments = parser.parse_args()
    with torch.inference_mode():
        peak = graphs.copy_bandwidth()
        records = list(measure(arguments))
    print(f"largest copy: {peak / 1e12:.2f} TB/s; cells: of the copy of x's size, of the largest\n")
    print(cells(records, peak, arguments.dtype))
    wrong = sum(not record["error"] <= TOLERANCE[arguments.dtype] for record in records)
    print(f"\nwrong results: {wrong} of {len(records)}")
    path = timing.results_path(arguments.json, "gpu/norms.json")
    timing.write(
        path,
        {"environment": timing.environment(), "copy_bytes_per_s": peak, "records": records},
    )
    print(f"written to {path}")
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
