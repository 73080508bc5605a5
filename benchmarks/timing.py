"""How the benchmarks time things and write down their results.

All contenders run in one process and take turns, so that a busy moment of the machine slows them
alike. Reported is the median over rounds; a ratio is the median of the rounds' own ratios.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MICRO = 1e6

Call = Callable[[], object]
Times = dict[str, list[float]]


def repeat(call: Call, times: int, wait: Call = int) -> float:
    """Seconds a call, over `times` calls in a row; `wait` returns once the device is done."""
    wait()
    start = time.perf_counter()
    for _ in range(times):
        call()
    wait()
    return (time.perf_counter() - start) / times


def interleaved(
    contenders: Mapping[str, Call], *, rounds: int, wait: Call = int, turn_seconds: float = 0.02
) -> Times:
    """Seconds a call of every contender, one value a round; each round starts with another one.

    A turn lasts at least about `turn_seconds`; one turn of each, which warms it up, does not count.
    """
    counts = {}
    for name, call in contenders.items():
        call()
        counts[name] = max(1, math.ceil(turn_seconds / max(repeat(call, 3, wait), 1e-7)))
        repeat(call, counts[name], wait)
    order = list(contenders)
    times: Times = {name: [] for name in order}
    for _ in range(rounds):
        for name in order:
            times[name].append(repeat(contenders[name], counts[name], wait))
        order.append(order.pop(0))
    return times


def median(times: Sequence[float]) -> float:
    """The median, in the unit of what goes in."""
    return statistics.median(times)


def speedup(times: Times, contender: str, baseline: str) -> float:
    """How many times faster the contender is: the median of the ratios of each round."""
    pairs = zip(times[baseline], times[contender], strict=True)
    return statistics.median(base / own for base, own in pairs)


def geometric_mean(values: Iterable[float]) -> float:
    """The geometric mean of positive values; nan where there are none."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Text columns: the first flush left, the others flush right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, ["-" * width for width in widths], *rows]:
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([first.strip().ljust(widths[0]), *others]))
    return "\n".join(lines)


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def commit() -> str:
    """POSTLUDE_COMMIT, for a copy carried to another machine; else the commit of this checkout.

    With "+" where files differ from it; "unknown" outside git.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    given = os.environ.get("POSTLUDE_COMMIT")
    if given:
        return given
    try:
        changed = "+" if git("status", "--porcelain") else ""
        return git("rev-parse", "--short=12", "HEAD") + changed
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def environment() -> dict[str, Any]:
    """What a figure depends on: date, machine, versions, commit."""
    import numpy
    import torch

    import postlude

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "gpu": gpu,
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "postlude": postlude.__version__,
        "config": postlude.show_config(),
        "commit": commit(),
    }


def parser(description: str | None, rounds: int = 15) -> argparse.ArgumentParser:
    """An argument parser with the options that all benchmarks share."""
    result = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    result.add_argument("--json", type=Path, help="file or folder for the results")
    result.add_argument(
        "--rounds", type=int, default=rounds, help=f"rounds of turns (default: {rounds})"
    )
    return result


def results_path(path: Path | None, name: str) -> Path:
    """Where results go: ``path`` if it is a JSON file; in it if a folder; or in benchmarks/results.

    ``name`` is the file's, with a folder for the default alone.
    """
    if path is None:
        return ROOT / "benchmarks" / "results" / name
    return path if path.suffix == ".json" else path / Path(name).name


def write(path: Path, results: dict[str, Any]) -> None:
    """Writes the file whole or not at all, so that a run that is killed leaves what it had."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(json.dumps(results, indent=1) + "\n")
    unfinished.replace(path)


def save(results: dict[str, Any], path: Path | None) -> None:
    """Writes the results, with the environment, to a file, or to one named after the program.

    `path` may be that file or a folder; None means benchmarks/results.
    """
    path = results_path(path, f"{Path(sys.argv[0]).stem}.json")
    write(path, {"environment": environment(), **results})
    print(f"\nwritten to {os.path.relpath(path)}")
