"""``postlude bench``: a model's MLP and QKV blocks: torch eager beside ``postlude.ops`` on plain
weights and ``postlude.nn``, which packs them.

All run in one process and take turns; reported is the median. On a GPU each is a CUDA graph. Copies
of the weights take turns too, so that no cache holds them from call to call.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from . import info, models, sizes
from .tensors import TORCH_NAMES
from .timing import copies_of, progress, replay, take_turns, waiter

BLOCKS = ("mlp", "qkv")
CONTENDERS = ("torch", "plain", "bound")
# Beyond this relative error a contender computes something else.
_TOLERANCE = {"f32": 1e-4, "bf16": 5e-2, "f16": 1e-2}
_ROWS = "1,16,128,1024"


def add_to(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser(
        "bench",
        help="time a model's blocks against torch",
        description=__doc__.partition("\n\n")[0],
    )
    sizes.add_to(parser, _ROWS)
    parser.add_argument("--block", choices=BLOCKS, help="one block (default: both)")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each (default: 9)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw them (matplotlib)")
    parser.set_defaults(run=run)


def _check(name: str, y: Any, expected: Any, dtype: str) -> None:
    error = ((y.float() - expected.float()).norm() / expected.float().norm()).item()
    if not error <= _TOLERANCE[dtype]:
        raise RuntimeError(f"[bench] {name}: differs from torch by {error:.1e}, relatively")


def measure(
    shape: models.Shape, block: str, rows: list[int], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """A record for each number of rows: microseconds of every contender."""
    import torch

    from . import blocks

    dtype, device = getattr(torch, TORCH_NAMES[options.dtype]), options.device
    size = blocks.weight_bytes(block, shape, dtype)
    count = copies_of(size)
    copies = [blocks.new_block(block, shape, dtype, device) for _ in range(count)]
    wait = waiter(device)
    for m in rows:
        x = torch.randn(m, shape.hidden, device=device).to(dtype)
        expected = copies[0]["torch"](x)
        replays = {}
        for name in CONTENDERS:
            _check(name, copies[0][name](x), expected, options.dtype)
            replays[name] = replay([partial(copy[name], x) for copy in copies], device)
        seconds = take_turns(replays, options.rounds, wait)
        us = {name: value / count * 1e6 for name, value in seconds.items()}
        yield {"block": block, "m": m, "us": us, "weight_bytes": size, "copies": count}


def table(records: list[dict[str, Any]]) -> str:
    """The records as text: microseconds, and in brackets torch's time over ours."""
    lines = [f"{'block':6}{'M':>7}{'torch':>12}{'plain':>19}{'bound':>19}"]
    for record in records:
        us = record["us"]
        ours = "".join(
            f"{us[name]:11.1f} ({us['torch'] / us[name]:.2f})" for name in ("plain", "bound")
        )
        lines.append(f"{record['block']:6}{record['m']:7}{us['torch']:12.1f}  {ours}")
    return "\n".join(lines)


def _draw(records: list[dict[str, Any]], title: str, path: Path) -> None:
    """Microseconds by M, a panel for each block."""
    from matplotlib.figure import Figure

    names = sorted({record["block"] for record in records})
    figure = Figure(figsize=(5.5 * len(names), 4), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for axes, block in zip(panels, names, strict=True):
        chosen = [record for record in records if record["block"] == block]
        for name in CONTENDERS:
            points = sorted((record["m"], record["us"][name]) for record in chosen)
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
        axes.set(xscale="log", yscale="log", xlabel="M", ylabel="microseconds", title=block)
        axes.legend()
    figure.suptitle(title)
    figure.savefig(path)


def run(options: argparse.Namespace) -> int:
    """Measures, and prints the table."""
    shape, rows = sizes.shape_from(options, "bench"), sizes.rows_from(options.m, "bench")
    if options.rounds < 1:
        raise sizes.fail("bench", "rounds", "a number from 1 up", options.rounds)
    try:
        import torch

        if options.plot is not None:
            import matplotlib  # noqa: F401  # before the time is spent
    except ImportError as error:
        raise RuntimeError(f"[bench] needs {error.name}: pip install {error.name}") from None
    options.device = sizes.device_from(options.device, "bench")
    chosen = [options.block] if options.block else list(BLOCKS)
    title = f"{options.model or 'these sizes'}, {options.dtype}, {options.device}"
    records: list[dict[str, Any]] = []
    with torch.inference_mode():
        for block in chosen:
            progress(f"{title}: {block}: weights")
            for record in measure(shape, block, rows, options):
                records.append(record)
                progress(title, len(records), len(chosen) * len(rows))
    progress("")
    print(f"{title}: microseconds a call, and torch's time over ours\n\n{table(records)}")
    if options.json is not None:
        found = {
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "environment": info.collect(),
            "threads": torch.get_num_threads(),
            "shape": dataclasses.asdict(shape),
            "dtype": options.dtype,
            "device": options.device,
            "records": records,
        }
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.plot is not None:
        _draw(records, title, options.plot)
    return 0
