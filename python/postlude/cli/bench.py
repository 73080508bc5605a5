"""``postlude bench``: a model's MLP and QKV blocks: torch eager beside ``postlude.ops`` on plain
weights and ``postlude.nn``, which packs them.

All run in one process and take turns; reported is the median. On a GPU each is a CUDA graph. Copies
of the weights take turns too, so that no cache holds them from call to call.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from . import info, models
from .tensors import DTYPES

BLOCKS = ("mlp", "qkv")
CONTENDERS = ("torch", "plain", "bound")
# Beyond this relative error a contender computes something else.
_TOLERANCE = {"f32": 1e-4, "bf16": 5e-2, "f16": 1e-2}
_TORCH_NAMES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
_CACHE_BYTES = 256 << 20  # more than the largest cache
_MOST_COPIES = 32
_ROWS = "1,16,128,1024"
_SIZES = ("hidden", "intermediate", "heads", "kv_heads")


def add_to(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser(
        "bench",
        help="time a model's blocks against torch",
        description=__doc__.partition("\n\n")[0],
    )
    parser.add_argument(
        "model",
        nargs="?",
        help=f"{', '.join(models.MODELS)}, or a config.json; or give sizes instead",
    )
    for name in _SIZES:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="SIZE")
    parser.add_argument("--activation", default="gelu_erf", help="with sizes (default: gelu_erf)")
    parser.add_argument("--gated", action="store_true", help="with sizes: act(gate) * up")
    parser.add_argument("--norm", choices=["layer", "rms"], default="layer", help="with sizes")
    parser.add_argument("--bias", action="store_true", help="with sizes: biases")
    parser.add_argument("--m", default=_ROWS, metavar="M,M,...", help=f"rows (default: {_ROWS})")
    parser.add_argument("--block", choices=BLOCKS, help="one block (default: both)")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bf16", help="(default: bf16)")
    parser.add_argument("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each (default: 9)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw them (matplotlib)")
    parser.set_defaults(run=run)


def _fail(argument: str, expected: str, got: object) -> ValueError:
    return ValueError(f"[bench] {argument}: expected {expected}, got {got}")


def _shape(options: argparse.Namespace) -> models.Shape:
    given = {name: getattr(options, name) for name in _SIZES if getattr(options, name) is not None}
    if options.model is not None:
        if given:
            raise _fail("model", "a model or sizes", f"{options.model} and {', '.join(given)}")
        return models.shape_of(options.model)
    if not {"hidden", "intermediate", "heads"} <= set(given):
        raise _fail("model", "a model, or --hidden, --intermediate and --heads", given or "neither")
    given.setdefault("kv_heads", given["heads"])
    kind = {"activation": options.activation, "gated": options.gated, "bias": options.bias}
    return models.Shape(**given, **kind, norm=options.norm, eps=1e-5)


def _rows(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise _fail("m", "numbers from 1 up, with commas between them", repr(text))
    return [int(part) for part in parts]


def _device(wanted: str | None) -> str:
    import torch

    device = wanted or ("cuda" if torch.cuda.is_available() else "cpu")
    if device != "cpu" and not device.startswith("cuda"):
        raise _fail("device", "cpu, cuda or cuda:N", repr(device))
    if device != "cpu" and not torch.cuda.is_available():
        raise _fail("device", "a GPU that torch finds", "none")
    return device


Replay = Callable[[], object]


def _replay(calls: Sequence[Replay], device: str) -> Replay:
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
        with torch.cuda.graph(graph):
            every()
    return graph.replay


def _seconds(replay: Replay, times: int, wait: Replay) -> float:
    wait()
    start = time.perf_counter()
    for _ in range(times):
        replay()
    wait()
    return (time.perf_counter() - start) / times


def _take_turns(replays: dict[str, Replay], rounds: int, wait: Replay) -> dict[str, float]:
    """Median seconds of each; a turn lasts about 20 ms, and the first of each does not count."""
    counts = {}
    for name, replay in replays.items():
        counts[name] = max(1, math.ceil(0.02 / max(_seconds(replay, 2, wait), 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in replays}
    order = list(replays)
    for _ in range(rounds):
        for name in order:
            times[name].append(_seconds(replays[name], counts[name], wait))
        order.append(order.pop(0))
    return {name: statistics.median(seconds) for name, seconds in times.items()}


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

    dtype, device = getattr(torch, _TORCH_NAMES[options.dtype]), options.device
    size = blocks.weight_bytes(block, shape, dtype)
    count = min(max(math.ceil(_CACHE_BYTES / size), 1), _MOST_COPIES)
    copies = [blocks.new_block(block, shape, dtype, device) for _ in range(count)]
    wait: Replay = int if device == "cpu" else torch.cuda.synchronize
    for m in rows:
        x = torch.randn(m, shape.hidden, device=device).to(dtype)
        expected = copies[0]["torch"](x)
        replays = {}
        for name in CONTENDERS:
            _check(name, copies[0][name](x), expected, options.dtype)
            replays[name] = _replay([partial(copy[name], x) for copy in copies], device)
        seconds = _take_turns(replays, options.rounds, wait)
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


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> int:
    """Measures, and prints the table."""
    shape, rows = _shape(options), _rows(options.m)
    models.refuse_unusual(shape)
    if options.rounds < 1:
        raise _fail("rounds", "a number from 1 up", options.rounds)
    try:
        import torch

        if options.plot is not None:
            import matplotlib  # noqa: F401  # before the time is spent
    except ImportError as error:
        raise RuntimeError(f"[bench] needs {error.name}: pip install {error.name}") from None
    options.device = _device(options.device)
    chosen = [options.block] if options.block else list(BLOCKS)
    title = f"{options.model or 'these sizes'}, {options.dtype}, {options.device}"
    records: list[dict[str, Any]] = []
    with torch.inference_mode():
        for block in chosen:
            _progress(f"{title}: {block}: weights")
            for record in measure(shape, block, rows, options):
                records.append(record)
                _progress(f"{title}: {len(records)} of {len(chosen) * len(rows)} done")
    _progress("")
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
