"""``postlude tune``: times every tile of a model's products on this GPU, and keeps in a file those
that are faster than the library's choice.

Nothing else ever times: the library takes a tune file where POSTLUDE_TUNE_FILE, postlude.tuned or
Context::set_tune_table names one.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import info, models, sizes
from .timing import progress
from .tune_file import TuneFile

MARGIN = 0.02  # a winner is faster than the library's choice by more than this part
NOTHING = 2  # exit status: there is nothing to tune
_ROWS = "1,2,4,8,16,32,64,128,256,512,1024"


@dataclass(frozen=True)
class Problem:
    """A product of one shape; ``activation`` is what its epilogue is timed with."""

    dtype: str
    m: int
    n: int
    k: int
    epilogue: str
    activation: str | None = None

    @property
    def key(self) -> str:
        """The beginning of its line in a tune file."""
        sizes = f"m={self.m} n={self.n} k={self.k}"
        return f"dtype={self.dtype} {sizes} epilogue={self.epilogue}"


# Of a problem and its tiles: microseconds of the library's choice, and of the fastest tiles.
Timer = Callable[[Problem, list[str]], tuple[float, dict[str, float]]]


@dataclass(frozen=True)
class Result:
    """What was found for one problem: a tile, or None where the library's choice stays."""

    problem: Problem
    tile: str | None
    us: float
    shipped_us: float

    @property
    def line(self) -> str | None:
        """Its line in a tune file."""
        if self.tile is None:
            return None
        return f"{self.problem.key} {self.tile} us={self.us:.2f} shipped_us={self.shipped_us:.2f}"


def add_to(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser(
        "tune",
        help="find faster tiles for a model on this GPU",
        description=__doc__.partition("\n\n")[0],
    )
    sizes.add_to(parser, _ROWS)
    parser.add_argument("--rounds", type=int, default=9, help="turns of the best (default: 9)")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="the tune file; one that is there is added to",
    )
    parser.set_defaults(run=run)


def problems_of(shape: models.Shape, rows: Iterable[int], dtype: str) -> list[Problem]:
    """The products of a layer: QKV on a plain weight and on one that holds the norm, and the two of
    the MLP."""
    hidden, width, qkv = shape.hidden, shape.intermediate, shape.qkv_features
    first = "gated" if shape.gated else "activation"
    found = []
    for m in rows:
        found += [
            Problem(dtype, m, qkv, hidden, "plain"),
            Problem(dtype, m, qkv, hidden, "scaled"),
            Problem(dtype, m, width, hidden, first, shape.activation),
            Problem(dtype, m, hidden, width, "residual"),
        ]
    return list(dict.fromkeys(found))


def judge(problem: Problem, shipped_us: float, times: dict[str, float]) -> Result:
    """The fastest tile, if it is faster than the library's choice by more than MARGIN."""
    tile = min(times, key=lambda name: times[name], default=None)
    if tile is None or not shipped_us > times[tile] * (1 + MARGIN):
        return Result(problem, None, shipped_us, shipped_us)
    return Result(problem, tile, times[tile], shipped_us)


def tune(
    problems: list[Problem], file: TuneFile, tiles_of: Callable[[str], list[str]], timer: Timer
) -> list[Result]:
    """Times each problem that has tiles, and puts what is found into the file at once."""
    results = []
    for done, problem in enumerate(problems):
        tiles = tiles_of(problem.key)
        if not tiles:
            continue
        progress(f"{problem.key}: {len(tiles)} tiles", done, len(problems))
        results.append(judge(problem, *timer(problem, tiles)))
        file.update({problem.key: results[-1].line})
    progress("")
    return results


def _why_nothing(wanted: str | None) -> str:
    """Why there is nothing to tune, or an empty string."""
    import postlude

    expected = "[tune] device: expected a GPU, as products on the CPU have no tiles to choose from"
    if wanted == "cpu":
        return f"{expected}, got cpu"
    if "cuda: not built" in postlude.show_config():
        return f"{expected}, got a build of Postlude without CUDA"
    found = info.gpus()
    if isinstance(found, str) or not found:
        return f"{expected}, got {found or 'no GPU'}"
    return ""


def _table(results: list[Result]) -> str:
    width = max(len(one.problem.key) for one in results)
    lines = [f"{'problem':{width}} {'chosen':>9} {'best':>9}  tile"]
    for one in results:
        tile = one.tile or "as chosen"
        lines.append(f"{one.problem.key:{width}} {one.shipped_us:9.2f} {one.us:9.2f}  {tile}")
    return "\n".join(lines)


def run(options: argparse.Namespace) -> int:
    """Tunes, and prints a line a problem."""
    shape, rows = sizes.shape_from(options, "tune"), sizes.rows_from(options.m, "tune")
    if options.rounds < 1:
        raise sizes.fail("tune", "rounds", "a number from 1 up", options.rounds)
    if reason := _why_nothing(options.device):
        print(reason, file=sys.stderr)
        return NOTHING
    # The file may be the one that is about to be written.
    os.environ.pop("POSTLUDE_TUNE_FILE", None)
    try:
        import torch
    except ImportError:
        raise RuntimeError("[tune] needs torch: pip install torch") from None
    from .._interop import _C
    from .tune_timing import GpuTimer

    device = torch.device(sizes.device_from(options.device, "tune"))
    gpu = device.index or 0
    file = TuneFile(options.out, _C.tune_header(gpu))
    try:
        before = file.check()
    except OSError as error:
        raise sizes.fail("tune", "out", "a file that can be written", error) from None
    problems = problems_of(shape, rows, options.dtype)
    timer = GpuTimer(f"cuda:{gpu}", file.header, options.rounds)
    with torch.inference_mode(), torch.cuda.device(gpu):
        results = tune(problems, file, lambda key: _C.tune_tiles(key, gpu), timer)
    if not results:
        name = torch.cuda.get_device_name(gpu)
        said = f"[tune] device: expected a GPU with tiles to choose from for {options.dtype}"
        print(f"{said}, got {name}", file=sys.stderr)
        return NOTHING
    print(f"microseconds of the library's choice and of the best tile\n\n{_table(results)}\n")
    won = sum(result.tile is not None for result in results)
    print(f"{won} of {len(results)} go into {options.out}, which had {before} entries")
    print(f"to use it: export POSTLUDE_TUNE_FILE={options.out.resolve()}")
    return 0
