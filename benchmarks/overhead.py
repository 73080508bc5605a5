"""Microseconds that a small call costs beyond its kernels: ops.linear and a bound nn.MLP.

M is 1 and the hidden size 64. The kernels' time is that of the bare oneDNN products, as the C++
program kernel_time measures it; the MLP's norm, activation and residual, all checks and all of
Python count as overhead.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import timing
import torch

from postlude import nn, ops

HIDDEN = 64
LIMIT = 10.0
KERNEL_TIME = timing.ROOT / "build" / "release" / "benchmarks" / "cpp" / "kernel_time"


def calls() -> dict[str, Callable[[], object]]:
    """The calls to time, each with its arguments prepared."""
    x, weight, bias = torch.randn(1, HIDDEN), torch.randn(HIDDEN, HIDDEN), torch.randn(HIDDEN)
    mlp = nn.MLP(HIDDEN, 4 * HIDDEN, activation="gelu_erf", norm="layer", eps=1e-12)
    linear = ops.linear
    return {
        "linear": lambda: linear(x, weight, bias),
        "mlp": lambda: mlp(x),
        "torch linear": lambda: torch.nn.functional.linear(x, weight, bias),
    }


def kernel_times(program: Path) -> dict[str, float]:
    """What the C++ program prints, in microseconds."""
    run = subprocess.run([program], check=True, capture_output=True, text=True)
    times: dict[str, float] = json.loads(run.stdout)
    return times


def main() -> None:
    """Measures, prints the table and writes the JSON file."""
    parser = timing.parser(__doc__)
    parser.add_argument("--kernel-time", type=Path, default=KERNEL_TIME, help="the C++ program")
    arguments = parser.parse_args()

    python: timing.Times = {}
    kernels: timing.Times = {}
    with torch.inference_mode():
        for _ in range(
            3
        ):  # the C++ program cannot take turns call by call, so it does so by thirds
            for name, value in kernel_times(arguments.kernel_time).items():
                kernels.setdefault(name, []).append(value)
            for name, values in timing.interleaved(calls(), rounds=arguments.rounds).items():
                python.setdefault(name, []).extend(timing.MICRO * value for value in values)
    whole = {name: timing.median(values) for name, values in python.items()}
    bare = {name: timing.median(values) for name, values in kernels.items()}
    overhead = {
        "linear": whole["linear"] - bare["linear_kernel"],
        "mlp": whole["mlp"] - bare["mlp_kernels"],
    }
    rows = [
        ["ops.linear", *(f"{v:.1f}" for v in (whole["linear"], bare["linear_cpp"]))],
        ["nn.MLP, bound", *(f"{v:.1f}" for v in (whole["mlp"], bare["mlp_cpp"]))],
    ]
    for cells, name, kernel in zip(
        rows, ("linear", "mlp"), ("linear_kernel", "mlp_kernels"), strict=True
    ):
        cells += [f"{bare[kernel]:.1f}", f"{overhead[name]:.1f}"]
    print(timing.table(["us a call", "Python", "C++", "kernels", "overhead"], rows))
    print(f"torch.nn.functional.linear: {whole['torch linear']:.1f} us (aim: overhead <= {LIMIT})")
    timing.save({"python_us": whole, "cpp_us": bare, "overhead_us": overhead}, arguments.json)


if __name__ == "__main__":
    main()
