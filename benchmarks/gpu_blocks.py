"""Times the MLP and QKV blocks on a GPU: torch eager and compiled, cuBLASLt, and ours.

All contenders run in one process, on the same weights, as CUDA graphs whose replays take turns; a
graph rotates through copies of the weights that the L2 cache cannot hold. See contenders.py for who
they are, and report.py for what wins. DeepSpeed's kernels and QuACK are not among them: they are
built on the machine where they run, and here nothing is installed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import contenders
import graphs
import report
import timing
import torch
from contenders import COMPILED, DTYPES
from report import OURS, PEERS
from shapes import MODELS

M = [128, 256, 333, 512, 1000, 1024, 2048, 4096, 8192, 16384]
QUICK = {"m": [128, 1000, 4096], "dtypes": ["bf16"], "contenders": ["eager", "cublaslt", *OURS]}
CHECKED_ROWS = 64
ERROR_FLOOR = {"fp32": 2e-6, "bf16": 4e-3, "fp16": 5e-4}
ERROR_RATIO = 1.25  # ours over torch eager's


class Cell(NamedTuple):
    """A block of a model in a dtype, with the copies of its weights."""

    model: str
    block: str
    dtype: str
    copies: list[contenders.Copy]

    @property
    def shape(self) -> Any:
        """The model's sizes."""
        return MODELS[self.model]

    def weight_bytes(self) -> int:
        """Bytes of one copy's matrices."""
        return contenders.weight_count(self.block, self.shape) * DTYPES[self.dtype].itemsize

    def floor_us(self, m: int, ceilings: dict[str, float]) -> float:
        """What the measured product rate and read bandwidth leave as the shortest time."""
        features = self.shape.hidden + contenders.out_features(self.block, self.shape)
        moved = self.weight_bytes() + m * features * DTYPES[self.dtype].itemsize
        operations = 2 * m * contenders.weight_count(self.block, self.shape)
        rate, bandwidth = ceilings[f"{self.dtype}_per_s"], ceilings["read_bytes_per_s"]
        return 1e6 * max(operations / rate, moved / bandwidth)


class Clock:
    """How long this run has taken, and what it may still do."""

    def __init__(self, budget: float, stop_after: float) -> None:
        self.start = time.monotonic()
        self.budget, self.stop_after = budget, stop_after

    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.start

    def may_compile(self) -> bool:
        """Whether compiled contenders still take part."""
        return self.seconds() < self.budget

    def may_go_on(self) -> bool:
        """Whether another cell may start."""
        return self.seconds() < self.stop_after


def set_up_compiler() -> None:
    """torch.compile chooses among cuBLAS's and Triton's products, soon, and prints no tables."""
    import torch._inductor.config as config

    wishes = {
        "max_autotune_gemm_backends": "ATEN,TRITON",
        "autotune_num_choices_displayed": 0,
        "inductor_default_autotune_warmup": 10,  # ms
        "inductor_default_autotune_rep": 40,
    }
    for name, value in wishes.items():
        if hasattr(config, name):  # not every version of torch has all
            setattr(config, name, value)


def measured_ceilings(dtypes: list[str]) -> dict[str, float]:
    """Bytes read and operations a second, as this process reaches them."""
    rates = {f"{name}_per_s": graphs.matmul_rate(DTYPES[name]) for name in dtypes}
    return {"read_bytes_per_s": graphs.read_bandwidth(), **rates}


def new_cell(model: str, block: str, dtype: str, count: int | None) -> Cell:
    """A block with ``count`` copies of its weights, or with as many as the cache calls for."""
    torch.manual_seed(0)
    cell = Cell(model, block, dtype, [])
    for _ in range(count or graphs.copies_beyond_cache(cell.weight_bytes())):
        where = {"dtype": DTYPES[dtype], "device": graphs.DEVICE}
        cell.copies.append(contenders.new_copy(block, MODELS[model], **where))
    return cell


def wanted(cell: Cell, names: list[str] | None) -> list[str]:
    """The cell's contenders: those named, or the judged ones; in fp32 only the eager and ours."""
    if names is None:
        fp32 = ("eager", "merged", *OURS)
        names = list(fp32 if cell.dtype == "fp32" else (*PEERS, *OURS))
    return [name for name in contenders.available(cell.block, cell.shape) if name in names]


def errors(cell: Cell, x: torch.Tensor, results: dict[str, torch.Tensor]) -> dict[str, float]:
    """Each result's relative Frobenius error against float64, over some of the rows."""
    rows = torch.linspace(0, len(x) - 1, min(CHECKED_ROWS, len(x)), device=x.device).long()
    expected = contenders.exact(cell.block, cell.shape, cell.copies[0].weights, x[rows])
    size = expected.norm()
    return {who: float((y[rows].double() - expected).norm() / size) for who, y in results.items()}


def capture_all(
    cell: Cell, x: torch.Tensor, clock: Clock, options: argparse.Namespace, record: dict[str, Any]
) -> dict[str, graphs.Captured]:
    """The contenders' graphs; notes in the record who is missing, and why."""
    captured = {}
    for name in wanted(cell, options.contenders):
        if name in COMPILED and not clock.may_compile():
            record["skipped"][name] = f"the budget of {clock.budget:.0f} s was spent"
            continue
        start = time.monotonic()
        try:
            with contenders.library(name):
                calls = contenders.calls(name, cell.block, cell.shape, cell.copies)
                calls *= record["times_round"]
                captured[name] = graphs.capture(
                    [partial(call, x) for call in calls], apart=options.apart
                )
        except Exception as error:
            torch.cuda.synchronize()  # raises where the device itself has failed
            record["failed"][name] = f"{type(error).__name__}: {error}"[:300]
        if name in COMPILED:
            record["compile_s"][name] = round(time.monotonic() - start, 1)
    return captured


def judge_errors(
    record: dict[str, Any], found: dict[str, float], captured: dict[str, graphs.Captured]
) -> None:
    """Drops peers that compute another formula; names ours that are less exact than promised."""
    name = record["dtype"]
    for who in [who for who in found if who in PEERS]:
        if not found[who] <= contenders.TOLERANCE[name]:
            record["failed"][who] = f"relative error {found[who]:.1e}"
            del captured[who]
    limit = max(ERROR_RATIO * found.get("eager", 0.0), ERROR_FLOOR[name])
    record["error"] = found
    record["wrong"] = [who for who in OURS if who in found and not found[who] <= limit]


def measure(
    cell: Cell, m: int, floor_us: float, clock: Clock, options: argparse.Namespace
) -> dict[str, Any]:
    """The cell's record."""
    record: dict[str, Any] = {
        "model": cell.model,
        "block": cell.block,
        "dtype": cell.dtype,
        "m": m,
        "copies": len(cell.copies),
        "times_round": graphs.times_round(len(cell.copies), floor_us),
        "floor_us": floor_us,
        "apart": options.apart,
        "skipped": {},
        "failed": {},
        "compile_s": {},
    }
    x = torch.randn(m, cell.shape.hidden, dtype=DTYPES[cell.dtype], device=graphs.DEVICE)
    captured = capture_all(cell, x, clock, options, record)
    found = errors(cell, x, {who: graph.first for who, graph in captured.items()})
    judge_errors(record, found, captured)
    record["us"] = graphs.medians(
        captured, repeats=options.repeats, rounds=options.rounds, turn_ms=options.turn_ms
    )
    return record


def earlier(path: Path) -> dict[str, Any]:
    """The runs and records of a results file; none where there is no such file."""
    if not path.exists():
        return {"runs": [], "records": []}
    results: dict[str, Any] = json.loads(path.read_text())
    if "runs" not in results:
        raise SystemExit(f"{path}: not written by gpu_blocks.py, so nothing can be added")
    return results


def put(records: list[dict[str, Any]], record: dict[str, Any]) -> None:
    """Adds the record, in the place of one of the same cell."""
    records[:] = [old for old in records if report.key(old) != report.key(record)]
    records.append(record)
    records.sort(key=report.key)


def run(options: argparse.Namespace, results: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """Measures every cell asked for, saves after each, and returns this run's records."""
    clock = Clock(options.budget, options.stop_after)
    ceilings = measured_ceilings(options.dtypes)
    arguments = {name: str(value) for name, value in vars(options).items()}
    results["runs"].append({**timing.environment(), "ceilings": ceilings, "arguments": arguments})
    print(
        ", ".join(f"{name} {value / 1e12:.2f}e12" for name, value in ceilings.items()), flush=True
    )
    done: list[dict[str, Any]] = []
    cells: dict[tuple[str, str, str], Cell] = {}
    # Rows outermost, so that what is left out for want of time is the same for all blocks.
    for place in itertools.product(options.dtypes, options.m, options.models, options.blocks):
        name, m, model, block = place
        if not clock.may_go_on():
            print(f"not measured: {model} {block} {name} M={m}", flush=True)
            continue
        if (model, block, name) not in cells:
            cells[model, block, name] = new_cell(model, block, name, options.copies)
        cell = cells[model, block, name]
        record = measure(cell, m, cell.floor_us(m, ceilings), clock, options)
        record["run"] = len(results["runs"]) - 1
        report.judge(record)
        done.append(record)
        put(results["records"], record)
        timing.write(path, results)
        print(f"{clock.seconds():5.0f} s  {report.line(record)}", flush=True)
    return done


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = timing.parser(__doc__, rounds=7)
    parser.add_argument(
        "--models", nargs="+", choices=MODELS, default=["llama-3-8b", "gpt2-xl", "bert-large"]
    )
    parser.add_argument("--blocks", nargs="+", choices=contenders.KINDS, default=["mlp", "qkv"])
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES)
    parser.add_argument("--m", nargs="+", type=int, help="rows of x")
    parser.add_argument("--contenders", nargs="+", choices=contenders.EVERY)
    parser.add_argument("--quick", action="store_true", help="few cells, nothing compiled")
    parser.add_argument("--repeats", type=int, default=2, help="independent medians (default: 2)")
    parser.add_argument("--turn-ms", type=float, default=10.0, help="a turn's time (default: 10)")
    parser.add_argument("--copies", type=int, help="of the weights (default: beyond the L2 cache)")
    parser.add_argument(
        "--budget",
        type=float,
        default=float("inf"),
        help="seconds after which compiled contenders are skipped",
    )
    parser.add_argument(
        "--stop-after", type=float, default=float("inf"), help="seconds; no new cell starts later"
    )
    parser.add_argument(
        "--apart", action="store_true", help="a tiny kernel between calls, whose time counts"
    )
    parser.add_argument("--append", action="store_true", help="keep the file's other cells")
    options = parser.parse_args(arguments)
    defaults = QUICK if options.quick else {"m": M, "dtypes": ["bf16", "fp16"]}
    for name, value in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if min(options.m) < 1 or min(options.repeats, options.rounds) < 1:
        parser.error("--m, --rounds and --repeats: expected 1 or more")
    return options


def main() -> int:
    """Measures, saves and prints; 1 where a result of ours is wrong or missing."""
    options = parse()
    set_up_compiler()
    path = timing.results_path(options.json, "gpu/blocks.json")
    results = earlier(path) if options.append else {"runs": [], "records": []}
    done: list[dict[str, Any]] = []
    try:
        with torch.inference_mode():
            done = run(options, results, path)
    finally:
        print(f"\n{report.summary(results['records'])}\n\nwritten to {path}", flush=True)
    return int(any(report.broken(record) for record in done))


if __name__ == "__main__":
    raise SystemExit(main())
