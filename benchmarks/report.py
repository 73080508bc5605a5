"""Judges the records of gpu_blocks.py, and prints them as a Markdown table or as a short summary.

Usage: python benchmarks/report.py [FILE.json]

A contender of ours wins a cell where in every repeat its median is at most 1.5 % over that of the
best peer.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import timing

TIE = 1.015
# Torch eager; eager with gate and up as one product; torch.compile; the same with max-autotune;
# the products and what epilogues it has by cuBLASLt. Ours: ops on plain weights; bound layers. Also
# timed, and not judged: ops with batch_invariant=True; the Triton kernels; for fp32 ops with
# allow_tf32=True, and torch eager with its own switch for TF32.
PEERS = ("eager", "merged", "compile", "autotune", "cublaslt")
OURS = ("plain", "bound")
ALSO = ("invariant", "triton", "tf32", "torch_tf32")
DTYPE_ORDER = ("bf16", "fp16", "fp32")
RESULTS = timing.ROOT / "benchmarks" / "results" / "gpu" / "blocks.json"
RANGES = {
    "M >= 1024": (1024, 1 << 62),
    "128 <= M < 1024": (128, 1024),
    "M < 128": (0, 128),
}

Record = dict[str, Any]


def key(record: Record) -> tuple[Any, ...]:
    """What tells cells apart, and their order."""
    dtype = DTYPE_ORDER.index(record["dtype"])
    return dtype, record["model"], record["block"], record["m"]


def judge(record: Record) -> None:
    """Adds the best peer, its time over each of ours (`ratio`), and whether ours `won`."""
    us = record["us"]
    peers = {who: us[who] for who in PEERS if who in us}
    means = {who: statistics.fmean(values) for who, values in us.items()}
    record["best"] = min(peers, key=means.__getitem__) if peers else None
    record["ratio"], record["won"] = {}, {}
    for who in OURS:
        if who in us and peers:
            record["ratio"][who] = means[record["best"]] / means[who]
            record["won"][who] = all(
                own <= TIE * min(values)
                for own, *values in zip(us[who], *peers.values(), strict=True)
            )
        elif who in record["failed"]:
            record["won"][who] = False


def broken(record: Record) -> bool:
    """Whether a result of ours is wrong or missing."""
    return bool(record["wrong"]) or any(who in record["failed"] for who in OURS)


def name(record: Record) -> str:
    """The cell's name."""
    return f"{record['model']} {record['block']} {record['dtype']} M={record['m']}"


def mean(record: Record, who: str) -> float:
    """A contender's time in microseconds: the mean of the repeats' medians."""
    return statistics.fmean(record["us"][who])


def verdict(record: Record, who: str) -> str:
    """The ratio as text, marked with < where the cell is lost and with ! where it is wrong."""
    mark = "!" if who in record["wrong"] or who in record["failed"] else ""
    if who not in record["ratio"]:
        return f"-{mark}"
    mark = mark or ("" if record["won"][who] else "<")
    return f"{record['ratio'][who]:.2f}{mark}"


def line(record: Record) -> str:
    """One cell as a line of progress."""
    us = " ".join(f"{who} {mean(record, who):.1f}" for who in record["us"])
    ratios = " ".join(f"{who} {verdict(record, who)}" for who in OURS if who in record["ratio"])
    notes = [
        f"{who}: {text}" for kind in ("failed", "skipped") for who, text in record[kind].items()
    ]
    notes += [f"{who}: error {record['error'][who]:.1e}" for who in record["wrong"]]
    seconds = sum(record["compile_s"].values())
    compiled = f"  compiled in {seconds:.0f} s" if seconds else ""
    text = f"{name(record)}: floor {record['floor_us']:.1f} {us} | {ratios}{compiled}"
    return "; ".join([text, *notes])


def groups(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by model, block and dtype."""
    result: dict[str, list[Record]] = {}
    for record in records:
        group = f"{record['model']} {record['block']} {record['dtype']}"
        result.setdefault(group, []).append(record)
    return result


def geometric_means(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """The geometric mean of each contender's ratios, by range of M; none where it has none."""
    result: dict[str, dict[str, float]] = {}
    for label, (low, high) in RANGES.items():
        chosen = [record for record in records if low <= record["m"] < high]
        for who in OURS:
            values = [record["ratio"][who] for record in chosen if who in record["ratio"]]
            if values:
                result.setdefault(label, {})[who] = timing.geometric_mean(values)
    return result


def summary(records: Sequence[Record]) -> str:
    """All cells in a few lines: ratios by M, geometric means, lost cells, what is missing."""
    lines = ["best peer's time over ours, plain/bound by M (< lost, ! wrong or failed)"]
    for group, members in groups(records).items():
        cells = "  ".join(
            f"{record['m']}: {'/'.join(verdict(record, who) for who in OURS)}" for record in members
        )
        lines.append(f"{group}  {cells}")
    for label, values in geometric_means(records).items():
        means = ", ".join(f"{who} {value:.3f}" for who, value in values.items())
        lines.append(f"geometric mean, {label}: {means}")
    for who in OURS:
        judged = [record for record in records if who in record["won"]]
        lost = sum(not record["won"][who] for record in judged)
        lines.append(f"cells lost by {who}: {lost} of {len(judged)}")
    for kind in ("skipped", "failed"):
        for who in (*PEERS, *OURS):
            reasons = [record[kind][who] for record in records if who in record[kind]]
            if reasons:
                count = f"{len(reasons)} of {len(records)} cells"
                lines.append(f"{kind}: {who} in {count}, first {reasons[0][:120]!r}")
    wrong = sum(bool(record["wrong"]) for record in records)
    lines.append(f"cells with an error over the limit: {wrong}")
    return "\n".join(lines)


def markdown(records: Sequence[Record]) -> str:
    """Every cell as a row; a ratio in bold is a lost cell."""
    present = [who for who in PEERS if any(who in record["us"] for record in records)]
    shown = [*OURS, *(who for who in ALSO if any(who in record["us"] for record in records))]
    header = ["block", "dtype", "M", "floor", *present, *shown, *(f"{who} ratio" for who in OURS)]
    rows = [header, ["---"] * 3 + ["---:"] * (len(header) - 3)]
    for record in records:
        times = [f"{mean(record, who):.1f}" if who in record["us"] else "-" for who in present]
        own = [f"{mean(record, who):.1f}" if who in record["us"] else "-" for who in shown]
        ratios = [verdict(record, who) for who in OURS]
        marked = [f"**{text}**" if text[-1] in "<!" else text for text in ratios]
        block = f"{record['model']} {record['block']}"
        floor = f"{record['floor_us']:.1f}"
        rows.append([block, record["dtype"], str(record["m"]), floor, *times, *own, *marked])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def load(path: Path) -> list[Record]:
    """The records of a results file."""
    records: list[Record] = json.loads(path.read_text())["records"]
    return records


def main() -> None:
    """Prints the table and the summary of a results file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, default=RESULTS)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPE_ORDER, default=list(DTYPE_ORDER))
    parser.add_argument("--summary", action="store_true", help="without the table")
    options = parser.parse_args()
    records = [record for record in load(options.file) if record["dtype"] in options.dtypes]
    if not options.summary:
        print(
            f"Microseconds a call; ratio: the best peer's time over ours.\n\n{markdown(records)}\n"
        )
    print(summary(records))


if __name__ == "__main__":
    main()
