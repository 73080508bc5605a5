"""Fails where a CUDA library holds code for other architectures than those that it tells of.

Usage: postlude info | python tools/check_architectures.py LIBRARY   (needs cuobjdump)

The list that show_config() gives, and with it `postlude info`, is CMake's: 80-real is code for
sm_80, 90-virtual PTX for compute_90, 80 both.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

PUBLISHED = re.compile(r"architectures ([0-9a-z, -]+), CUTLASS")
LISTED = re.compile(r"\.(sm|compute)_(\w+)\.(cubin|ptx)$", re.MULTILINE)
NAMES = {"cubin": "sm", "ptx": "compute"}


def published(config: str) -> set[str]:
    """The architectures that show_config()'s text names, as sm_* for code and compute_* for PTX.

    Raises ValueError where it names none.
    """
    match = PUBLISHED.search(config)
    if match is None:
        raise ValueError(f"no list of architectures in {config!r}")
    found = set()
    for entry in match[1].split(", "):
        number, _, kind = entry.partition("-")
        found |= {f"sm_{number}"} if kind != "virtual" else set()
        found |= {f"compute_{number}"} if kind != "real" else set()
    return found


def find_cuobjdump() -> str | None:
    """The path of cuobjdump: on PATH, or in the package nvidia-cuda-cuobjdump of this Python."""
    here = Path(sys.prefix).glob("lib/python*/site-packages/nvidia/*/bin/cuobjdump")
    return shutil.which("cuobjdump") or next(map(str, here), None)


def held(library: Path) -> set[str]:
    """The architectures of all code and PTX in a library, by cuobjdump."""
    program = find_cuobjdump()
    if program is None:
        raise FileNotFoundError("cuobjdump is not there; pip install nvidia-cuda-cuobjdump")
    found = set()
    for option in ("--list-elf", "--list-ptx"):
        run = subprocess.run([program, option, library], capture_output=True, text=True)
        # Of a library without PTX --list-ptx says so and fails.
        if run.returncode != 0 and "does not contain device code" not in run.stdout + run.stderr:
            raise RuntimeError(f"{program} {option} {library}: {run.stdout}{run.stderr}")
        found |= {f"{NAMES[kind]}_{number}" for _, number, kind in LISTED.findall(run.stdout)}
    return found


def main(arguments: list[str]) -> int:
    """Prints what the library holds; returns 1 where the standard input tells of something else."""
    (library,) = arguments
    told, there = published(sys.stdin.read()), held(Path(library))
    print(f"{library}: {', '.join(sorted(there)) or 'nothing'}")
    if told != there:
        print(f"{library}: tells of {', '.join(sorted(told))}")
    return int(told != there)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
