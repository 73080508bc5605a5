"""Times ops.linear alone on a GPU, with its epilogues, against torch's product without any.

Graph replays take turns, over copies of the weight that the L2 cache cannot hold. N counts both
halves of a gated weight, so that both do the same product. Without --shapes: the products of the
models' blocks, each with its own epilogue.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import graphs
import timing
import torch
import torch.nn.functional as F
from contenders import DTYPES
from shapes import MODELS

import postlude
from postlude import ops

CHECKED_ROWS = 64
EPILOGUES: dict[str, dict[str, Any]] = {
    "plain": {},
    "bias": {},
    "gelu": {"activation": "gelu_tanh"},
    "gelu_erf": {"activation": "gelu_erf"},
    "silu": {"activation": "silu", "gated": True},
    "residual": {},
}
WITH_BIAS = ("bias", "gelu", "gelu_erf")

Tensor = torch.Tensor


class Problem(NamedTuple):
    """x (m, k) times a weight (n, k), and what follows."""

    m: int
    n: int
    k: int
    epilogue: str


class Operands(NamedTuple):
    """What the calls share, and the copies of the weight."""

    x: Tensor
    weights: list[Tensor]
    bias: Tensor | None
    options: dict[str, Any]


def of_models(models: list[str], rows: list[int]) -> Iterator[Problem]:
    """The products of the models' blocks."""
    for model, m in itertools.product(models, rows):
        shape = MODELS[model]
        wide = shape.intermediate * (2 if shape.gated else 1)
        first = "silu" if shape.gated else shape.activation.replace("gelu_tanh", "gelu")
        yield Problem(m, wide, shape.hidden, first)
        yield Problem(m, shape.hidden, shape.intermediate, "residual")
        yield Problem(m, shape.qkv_features, shape.hidden, "bias" if shape.bias else "plain")


def operands(problem: Problem, **where: Any) -> Operands:
    """Random operands, on so many weights that the cache serves none."""
    m, n, k, epilogue = problem
    x = torch.randn(m, k, **where)
    count = graphs.copies_beyond_cache(n * k * x.element_size())
    weights = [torch.randn(n, k, **where) / k**0.5 for _ in range(count)]
    options = dict(EPILOGUES[epilogue])
    if epilogue == "residual":
        options["residual"] = torch.randn(m, n, **where)
    bias = torch.randn(n, **where) if epilogue in WITH_BIAS else None
    return Operands(x, weights, bias, options)


def error(problem: Problem, data: Operands, y: Tensor) -> float:
    """The relative error against float64, over some of the rows."""
    rows = torch.linspace(0, problem.m - 1, min(CHECKED_ROWS, problem.m), device=y.device).long()
    options = dict(data.options)
    if "residual" in options:
        options["residual"] = options["residual"][rows]
    linear = postlude.reference.linear
    expected = postlude.reference.exact(linear, data.x[rows], data.weights[0], data.bias, **options)
    return float((y[rows].double() - expected).norm() / expected.norm())


def kernel(data: Operands) -> str:
    """The kernel and the tile that ops.linear takes."""
    text = postlude.explain("linear", data.x, data.weights[0], data.bias, **data.options)
    lines = [line.strip() for line in text.splitlines()]
    return next((line[len("kernel ") :] for line in lines if line.startswith("kernel ")), "none")


def ours(data: Operands, weight: Tensor, bound: bool) -> Any:
    """Our call on one copy of the weight."""
    if not bound:
        return lambda: ops.linear(data.x, weight, data.bias, **data.options)
    options = dict(data.options)
    residual = options.pop("residual", None)
    op = ops.Linear(weight, data.bias, **options)
    return lambda: op(data.x, residual)


def measure(problem: Problem, arguments: argparse.Namespace) -> dict[str, Any]:
    """The record of one product."""
    data = operands(problem, dtype=DTYPES[arguments.dtype], device=graphs.DEVICE)
    captured = {
        "torch": graphs.capture([partial(F.linear, data.x, w) for w in data.weights]),
        "ours": graphs.capture([ours(data, w, arguments.bound) for w in data.weights]),
    }
    us = graphs.medians(captured, repeats=1, rounds=arguments.rounds, turn_ms=arguments.turn_ms)
    return {
        **problem._asdict(),
        "us": {who: values[0] for who, values in us.items()},
        "tflops": {
            who: 2e-6 * problem.m * problem.n * problem.k / values[0] for who, values in us.items()
        },
        "ratio": us["torch"][0] / us["ours"][0],
        "error": error(problem, data, captured["ours"].first),
        "kernel": kernel(data),
    }


def row(record: dict[str, Any]) -> list[str]:
    """A record as cells of the table."""
    us, tflops = record["us"], record["tflops"]
    return [
        f"{record['m']}x{record['n']}x{record['k']} {record['epilogue']}",
        *(text for who in us for text in (f"{us[who]:.1f}", f"{tflops[who]:.0f}")),
        f"{record['ratio']:.3f}",
        f"{record['error']:.1e}",
        record["kernel"],
    ]


def size(text: str) -> tuple[int, int, int]:
    """M, N and K from text such as 4096x28672x4096."""
    m, n, k = (int(part) for part in text.split("x"))
    return m, n, k


def main() -> None:
    """Measures, prints the table and, where asked, writes the JSON file."""
    parser = timing.parser(__doc__, rounds=7)
    parser.add_argument("--shapes", nargs="+", type=size, metavar="MxNxK")
    parser.add_argument("--epilogues", nargs="+", choices=EPILOGUES, default=["plain"])
    parser.add_argument(
        "--models", nargs="+", choices=MODELS, default=["llama-3-8b", "gpt2-xl", "bert-large"]
    )
    parser.add_argument("--m", nargs="+", type=int, default=[128, 1024, 4096])
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--bound", action="store_true", help="ops.Linear instead of ops.linear")
    parser.add_argument("--turn-ms", type=float, default=10.0, help="a turn's time (default: 10)")
    arguments = parser.parse_args()

    problems = list(of_models(arguments.models, arguments.m))
    if arguments.shapes:
        pairs = itertools.product(arguments.shapes, arguments.epilogues)
        problems = [Problem(m, n, k, epilogue) for (m, n, k), epilogue in pairs]
    records = []
    with torch.inference_mode():
        print(f"torch, 8192^3: {1e-12 * graphs.matmul_rate(DTYPES[arguments.dtype]):.0f} TFLOP/s")
        for problem in problems:
            records.append(measure(problem, arguments))
            print(" ".join(row(records[-1])), flush=True)
    header = ["MxNxK", "torch us", "TFLOP/s", "ours us", "TFLOP/s", "ratio", "error", "kernel"]
    print("\n" + timing.table(header, [row(record) for record in records]))
    mean = timing.geometric_mean(record["ratio"] for record in records)
    print(f"\ngeometric mean of the ratios: {mean:.3f}")
    if arguments.json is not None:
        timing.save({"records": records}, arguments.json)


if __name__ == "__main__":
    main()
