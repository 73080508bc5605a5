"""Draws the records of gpu_blocks.py as an SVG: time over the floor by M, a panel for each block.

Usage: python benchmarks/plot.py [FILE.json] [--dtype bf16] [--out FILE.svg]
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import report

try:
    import matplotlib
    import matplotlib.pyplot as plt
except ImportError:
    raise SystemExit("plot.py needs matplotlib: pip install --group bench") from None

matplotlib.use("svg")

COLUMNS = 2
LABELS = {
    "eager": "torch eager",
    "merged": "eager, merged gate/up",
    "compile": "torch.compile",
    "autotune": "torch.compile, max-autotune",
    "cublaslt": "cuBLASLt epilogues",
    "plain": "Postlude, plain weights",
    "bound": "Postlude, bound",
}
STYLES: dict[str, dict[str, Any]] = {
    "eager": {"color": "#7f7f7f", "marker": "o"},
    "merged": {"color": "#bcbd22", "marker": "v"},
    "compile": {"color": "#2ca02c", "marker": "s"},
    "autotune": {"color": "#9467bd", "marker": "D"},
    "cublaslt": {"color": "#ff7f0e", "marker": "^"},
    "plain": {"color": "#1f77b4", "marker": "o", "linestyle": "--", "linewidth": 2.2},
    "bound": {"color": "#d62728", "marker": "o", "linewidth": 2.2},
}


def panel(axes: Any, records: list[report.Record]) -> None:
    """The lines of one model's block."""
    for who in (*report.PEERS, *report.OURS):
        points = [
            (record["m"], report.mean(record, who) / record["floor_us"])
            for record in records
            if who in record["us"]
        ]
        if points:
            axes.plot(*zip(*points, strict=True), label=LABELS[who], markersize=4, **STYLES[who])
    ticks = sorted({record["m"] for record in records})
    axes.set_xscale("log", base=2)
    # Of ticks too close for two labels, the first has one.
    labelled = [m for i, m in enumerate(ticks) if i == 0 or m / ticks[i - 1] > 1.35]
    axes.set_xticks(labelled, [str(m) for m in labelled], rotation=45, ha="right")
    axes.minorticks_off()
    axes.axhline(1.0, color="black", linewidth=1)
    axes.set_ylim(bottom=0.95)
    axes.set_title(f"{records[0]['model']} {records[0]['block'].upper()}")
    axes.grid(alpha=0.3)


def draw(records: list[report.Record], title: str) -> Any:
    """The figure with all panels."""
    by_block = list(report.groups(records).values())
    lines = -(-len(by_block) // COLUMNS)
    figure, grid = plt.subplots(lines, COLUMNS, figsize=(11, 0.9 + 3.6 * lines), squeeze=False)
    panels = list(grid.flat)
    for axes, members in zip(panels, by_block, strict=False):
        panel(axes, members)
    for axes in panels[len(by_block) :]:
        axes.set_visible(False)
    for line in grid:
        line[0].set_ylabel("time / floor")
    for axes in panels[max(0, len(by_block) - COLUMNS) : len(by_block)]:
        axes.set_xlabel("M (rows of x)")
    named = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.suptitle(title, fontsize=14)
    figure.legend(named.values(), named, loc="lower center", ncols=4, fontsize=11, frameon=False)
    figure.tight_layout(rect=(0, 0.7 / (0.9 + 3.6 * lines), 1, 1))
    return figure


def main() -> None:
    """Writes the SVG, by default beside the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, default=report.RESULTS)
    parser.add_argument("--dtype", choices=report.DTYPE_ORDER, default="bf16")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    records = [r for r in report.load(options.file) if r["dtype"] == options.dtype]
    if not records:
        parser.error(f"{options.file}: no records of dtype {options.dtype}")
    plt.rcParams.update({"font.size": 12, "svg.fonttype": "none", "svg.hashsalt": "postlude"})
    out = options.out or options.file.with_name(f"{options.file.stem}-{options.dtype}.svg")
    figure = draw(records, f"{options.dtype}: microseconds a call over the hardware's floor")
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    out.write_text("".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines()))
    print(f"written to {out}")


if __name__ == "__main__":
    main()
