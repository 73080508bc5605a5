"""Fails on what ptxas says of a CUDA build: serialised wgmma (C7510) and spills in hot kernels.

Usage: python tools/check_ptxas.py [--kernels src/cuda/hot_kernels.txt] [--complete] [log ...]

The logs (or standard input) are those of a build with -Xptxas -v. --complete also fails where a
kernel of the list was not compiled at all, as in the log of a partial build.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

KERNELS = Path(__file__).resolve().parent.parent / "src" / "cuda" / "hot_kernels.txt"
ENTRY = re.compile(r"Compiling entry function '(?P<name>\w+)' for '(?P<arch>\w+)'")
SPILLS = re.compile(r"(?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (?P<count>\d+) registers")
SERIALISED = re.compile(r"\bC7510\b")


class Kernel(NamedTuple):
    """What ptxas reports of one kernel for one architecture."""

    name: str  # mangled
    arch: str
    registers: int
    spilled: int  # bytes stored and loaded


def read(lines: Iterable[str]) -> Iterator[Kernel]:
    """The kernels of a log; the lines of one follow each other."""
    name, arch, spilled = "", "", 0
    for line in lines:
        if entry := ENTRY.search(line):
            name, arch, spilled = entry["name"], entry["arch"], 0
        elif spills := SPILLS.search(line):
            spilled = int(spills["stores"]) + int(spills["loads"])
        elif name and (registers := REGISTERS.search(line)):
            yield Kernel(name, arch, int(registers["count"]), spilled)
            name = ""


def holds(mangled: str, name: str) -> bool:
    """Whether a mangled name is that of a function of this name: its length precedes it there."""
    return f"{len(name)}{name}" in mangled


def problems(lines: list[str], hot: list[str], complete: bool) -> Iterator[str]:
    """What is wrong with a log, as text."""
    yield from (f"wgmma is serialised: {line.strip()}" for line in lines if SERIALISED.search(line))
    kernels = list(read(lines))
    if not kernels:
        yield "the log tells of no kernel: was it built with -Xptxas -v?"
    for kernel in kernels:
        if kernel.spilled and any(holds(kernel.name, name) for name in hot):
            yield f"{kernel.name} for {kernel.arch} spills {kernel.spilled} bytes"
    for name in hot if complete else []:
        if not any(holds(kernel.name, name) for kernel in kernels):
            yield f"{name} is in the list, but was not compiled"


def main(arguments: list[str] | None = None) -> int:
    """Prints the problems of the logs; returns 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("logs", nargs="*", type=Path)
    parser.add_argument("--kernels", type=Path, default=KERNELS)
    parser.add_argument("--complete", action="store_true")
    options = parser.parse_args(arguments)
    names = options.kernels.read_text().splitlines()
    hot = [name.strip() for name in names if name.strip() and not name.startswith("#")]
    text = "".join(log.read_text() for log in options.logs) if options.logs else sys.stdin.read()
    lines = text.splitlines()
    found = list(problems(lines, hot, options.complete))
    for problem in found:
        print(problem)
    kernels = list(read(lines))
    most = max((kernel.registers for kernel in kernels), default=0)
    print(f"{len(kernels)} kernels, at most {most} registers, {len(found)} problems")
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
