"""Calls ``postlude.ops`` with random and hostile arguments until its time is up.

Usage: python fuzz/fuzz_ops.py [--seconds N] [--seed N] [--device cpu|cuda]

Call number n of a seed is the same in every run. A crash ends the program; the number of the last
call is in the file that ``--trace`` names.
"""

from __future__ import annotations

import argparse
import collections
import random
import time
import warnings
from pathlib import Path

import hostile


def main() -> None:
    """Prints how many calls did what."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--trace", type=Path, help="a file for the number of the call that runs")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    end = time.monotonic() + options.seconds
    counts: collections.Counter[str] = collections.Counter()
    number = 0
    while time.monotonic() < end:
        rng = random.Random(f"{options.seed}.{number}")
        if options.trace is not None:
            options.trace.write_text(f"{number}\n")
        call = hostile.Maker(rng, options.device).call()
        try:
            found = hostile.outcome(call)
        except BaseException:
            print(f"seed {options.seed}, call {number}: {call.op}")
            raise
        counts[type(found).__name__ if isinstance(found, Exception) else "done"] += 1
        number += 1
    said = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    print(f"{number} calls on {options.device}: {said}")


if __name__ == "__main__":
    main()
