"""Times `import postlude` in fresh interpreters, beyond what importing NumPy alone takes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import timing

LIMIT = 0.3


def seconds(statement: str) -> float:
    """Wall time of a fresh interpreter that runs one statement."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def beyond_numpy(rounds: int) -> list[float]:
    """Seconds that `import postlude` takes beyond `import numpy`, one value a round."""
    seconds("import numpy, postlude")  # so that the files are in the system's cache
    return [
        seconds("import numpy, postlude") - seconds("import numpy") for _ in range(max(1, rounds))
    ]


def main() -> None:
    """Measures, prints and writes the JSON file."""
    arguments = timing.parser(__doc__).parse_args()
    times = beyond_numpy(arguments.rounds)
    value = statistics.median(times)
    print(f"import postlude, beyond numpy: {value:.3f} s (to stay under {LIMIT} s)")
    timing.save({"seconds": times, "median": value}, arguments.json)


if __name__ == "__main__":
    main()
