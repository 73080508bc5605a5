"""Measures the CPU time of eager calls of the blocks on a GPU, and what each part of it costs.

Every call is timed alone, contenders take turns, and the queue never fills. Of a bound layer the
parts are differences of two calls that differ in that part, so that they add up to the whole; other
differences, which say more of single steps, follow. The clock's own time is subtracted.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import contenders
import graphs
import timing
import torch
from contenders import DTYPES
from shapes import MODELS, Shape

from postlude import RMSNorm, ops

LIMIT = 10.0
BURST = 8  # calls between two waits: far fewer kernels than the queue holds
HIDDEN = 1024  # of the single steps

Call = Callable[[], object]
Samples = dict[str, list[float]]
Tensor = torch.Tensor

NOTHING = "nothing"
WHOLE = {
    "layer": "bound layer",
    "op": "bound op",
    "plain": "op, plain weights",
    "eager": "torch eager",
}


def wait() -> None:
    """Returns once the device has nothing left to do."""
    if graphs.DEVICE == "cuda":
        torch.cuda.synchronize()


def sample(calls: Mapping[str, Call], *, count: int, rounds: int) -> Samples:
    """Microseconds of at least ``count`` calls of each, over rounds that start with another one."""
    clock = time.perf_counter_ns
    order = list(calls)
    times: Samples = {name: [] for name in order}
    for name in order:
        for _ in range(2 * BURST):
            calls[name]()
            wait()
    for _ in range(rounds):
        for name in order:
            call, values = calls[name], times[name]
            for _ in range(-(-count // (rounds * BURST))):
                wait()
                for _ in range(BURST):
                    start = clock()
                    call()
                    values.append(1e-3 * (clock() - start))
        order.append(order.pop(0))
    wait()
    return times


def summary(times: Samples) -> dict[str, dict[str, float]]:
    """Median and 90th percentile of each call, less the median of what the clock itself takes."""
    own = statistics.median(times[NOTHING])
    return {
        name: {
            "median": statistics.median(values) - own,
            "p90": statistics.quantiles(values, n=10)[-1] - own,
        }
        for name, values in times.items()
        if name != NOTHING
    }


def measured(calls: Mapping[str, Call], arguments: argparse.Namespace) -> dict[str, Any]:
    """The summary of the calls, timed beside a call of nothing."""
    everything = {NOTHING: lambda: None, **calls}
    return summary(sample(everything, count=arguments.calls, rounds=arguments.rounds))


def current_stream() -> int:
    """The handle of torch's current stream; ops ignore it on the CPU."""
    return torch.cuda.current_stream().cuda_stream if graphs.DEVICE == "cuda" else 0


def core_call(op: Any, x: Tensor, out: Tensor | None = None, stream: int | None = None) -> Call:
    """A call of the compiled object behind a bound Mlp or Qkv, without the Python around it."""
    core = op._call
    if isinstance(op, ops.Mlp):
        return lambda: core(x, None, None, None, out, None, None, stream)
    return lambda: core(x, out, None, stream)


def block_calls(kind: str, shape: Shape, copy: contenders.Copy, x: Tensor) -> dict[str, Call]:
    """What is timed of a block: whole calls, and calls that leave out one part after another."""
    weights = copy.weights
    layer: Any = getattr(copy.bound, "__self__", copy.bound)
    op = layer._ready(x)
    eager, plain = contenders.forms(kind, shape)["eager"], contenders.plain(kind, shape, weights)
    no_rows, stream = x[:0], current_stream()
    out = x.new_empty(len(x), contenders.out_features(kind, shape))
    return {
        "layer": lambda: layer(x),
        "op": lambda: op(x),
        "plain": lambda: plain(x),
        "eager": lambda: eager(x, weights),
        "forward": lambda: layer.forward(x),
        # Of a QKV, the result as one tensor.
        "merged": (lambda: layer.merged(x)) if kind == "qkv" else (lambda: layer.forward(x)),
        "ready": lambda: layer._ready(x),
        "core": core_call(op, x),
        "core, out": core_call(op, x, out),
        "core, out, stream": core_call(op, x, out, stream),
        "no rows": core_call(op, no_rows, out[:0], stream),
    }


def parts(kind: str, us: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The parts of the bound layer's median, which add up to it."""
    at = {name: values["median"] for name, values in us.items()}
    if kind != "qkv":
        at["merged"] = at["forward"]  # the same call, timed twice
    views = {"views of q, k, v": at["forward"] - at["merged"]} if kind == "qkv" else {}
    return {
        "torch.nn.Module's call": at["layer"] - at["forward"],
        **views,
        "Python of nn and ops": at["merged"] - at["ready"] - at["core"],
        "parameters unchanged?": at["ready"],
        "output": at["core"] - at["core, out"],
        "torch's stream, workspace": at["core, out"] - at["core, out, stream"],
        "arguments, checks": at["no rows"],
        "plan, launches": at["core, out, stream"] - at["no rows"],
    }


def kernels(call: Call) -> int | None:
    """How many kernels (and copies) the call starts; None where the profiler sees none."""
    if graphs.DEVICE != "cuda":
        return None
    both = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=both) as profile:
        call()
        wait()
    return sum(event.device_type.name == "CUDA" for event in profile.events()) or None


def measure_block(
    model: str, kind: str, m: int, arguments: argparse.Namespace
) -> tuple[dict[str, Any], dict[str, Call]]:
    """The record of one block, and its calls."""
    shape = MODELS[model]
    where: dict[str, Any] = {"dtype": DTYPES[arguments.dtype], "device": graphs.DEVICE}
    copy = contenders.new_copy(kind, shape, **where)
    calls = block_calls(kind, shape, copy, torch.randn(m, shape.hidden, **where))
    us = measured(calls, arguments)
    record = {"model": model, "block": kind, "m": m, "dtype": arguments.dtype}
    return {**record, "us": us, "parts": parts(kind, us)}, calls


def step_calls(arguments: argparse.Namespace) -> dict[str, Call]:
    """Calls whose differences are single steps; outputs and the stream are given."""
    where: dict[str, Any] = {"dtype": DTYPES[arguments.dtype], "device": graphs.DEVICE}
    x, wide = torch.randn(1, HIDDEN, **where), torch.randn(64, HIDDEN + 8, **where)
    weight, down = (torch.randn(HIDDEN, HIDDEN, **where) for _ in range(2))
    out, wide_out = torch.empty_like(x), torch.empty(64, HIDDEN, **where)
    norm = RMSNorm(torch.randn(HIDDEN, **where), 1e-5)
    linear = ops.Linear(weight)
    mlp = ops.Mlp(weight, down, activation="silu", norm=norm)
    none, none_out, empty = x[:0], out[:0], weight[:0]
    aligned, shifted = wide[:, :HIDDEN], wide[:, 1 : HIDDEN + 1]
    given: dict[str, Any] = {"stream": current_stream()}
    return {
        "torch, in place": lambda: out.neg_(),
        "torch.empty_like": lambda: torch.empty_like(x),
        "norm": lambda: ops.norm(x, norm, out=out, **given),
        "norm, no rows": lambda: ops.norm(none, norm, out=none_out, **given),
        "linear, no columns": lambda: ops.linear(x, empty, out=out[:, :0], **given),
        "linear, neither": lambda: ops.linear(none, empty, out=out[:0, :0], **given),
        "mlp, residual": lambda: mlp(none, none, out=none_out, **given),
        "mlp, none": lambda: mlp(none, out=none_out, **given),
        "own stream": lambda: mlp(none, out=none_out, **given),
        "torch's stream": lambda: mlp(none, out=none_out),
        "aligned": lambda: linear(aligned, out=wide_out, **given),
        "shifted": lambda: linear(shifted, out=wide_out, **given),
    }


def steps(us: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Single steps as differences of medians."""
    at = {name: values["median"] for name, values in us.items()}
    return {
        "torch op in place, one kernel": at["torch, in place"],
        "torch.empty_like": at["torch.empty_like"],
        "plan (twice) and one launch": at["norm"] - at["norm, no rows"],
        "plan (twice), no launch": at["linear, no columns"] - at["linear, neither"],
        "one more tensor argument": at["mlp, residual"] - at["mlp, none"],
        "torch's stream": at["torch's stream"] - at["own stream"],
        # With x's rows aligned, Hopper's kernels run at M = 64; else those of mma.sync.
        "tile's choice, tensor maps": at["aligned"] - at["shifted"],
    }


def whole_table(records: list[dict[str, Any]]) -> str:
    """A row for each block: median, 90th percentile and kernels of the whole calls."""
    rows = []
    for record in records:
        us, counts = record["us"], record["kernels"]
        cells = []
        for who in WHOLE:
            count = "" if counts[who] is None else f" {counts[who]}"
            cells.append(f"{us[who]['median']:.1f} ({us[who]['p90']:.1f}){count}")
        over = "over" if us["layer"]["median"] > LIMIT else ""
        rows.append([f"{record['model']} {record['block']} M={record['m']}", *cells, over])
    return timing.table(["us: median (p90) kernels", *WHOLE.values(), f"{LIMIT:.0f} us"], rows)


def parts_table(records: list[dict[str, Any]]) -> str:
    """A row for each part of the bound layer's call, and a column for each block."""
    names = list(dict.fromkeys(name for record in records for name in record["parts"]))
    names.sort(key=lambda name: name == "plan, launches")
    rows = []
    for name in names:
        cells = [record["parts"].get(name) for record in records]
        rows.append([name, *("-" if value is None else f"{value:.2f}" for value in cells)])
    rows.append(["bound layer", *(f"{record['us']['layer']['median']:.2f}" for record in records)])
    heads = [f"{record['model']} {record['block']}" for record in records]
    if len({record["m"] for record in records}) > 1:
        heads = [f"{h} {record['m']}" for h, record in zip(heads, records, strict=True)]
    return timing.table(["us (medians)", *heads], rows)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = timing.parser(__doc__, rounds=10)
    parser.add_argument("--calls", type=int, default=1000, help="timed calls (default: 1000)")
    parser.add_argument(
        "--models", nargs="+", choices=MODELS, default=["llama-3-8b", "gpt2-xl", "bert-large"]
    )
    parser.add_argument("--m", nargs="+", type=int, default=[1])
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    return parser.parse_args(arguments)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures all; the kernels are counted last, as the profiler slows what follows it."""
    cells = list(itertools.product(arguments.models, contenders.KINDS, arguments.m))
    records, counted = [], []
    for model, kind, m in cells:
        record, calls = measure_block(model, kind, m, arguments)
        records.append(record)
        counted.append({who: calls[who] for who in WHOLE})
    us = measured(step_calls(arguments), arguments)
    for record, whole in zip(records, counted, strict=True):
        record["kernels"] = {who: kernels(call) for who, call in whole.items()}
    return {"records": records, "step_us": us, "steps": steps(us)}


def main() -> None:
    """Measures, prints the tables and, where asked, writes the JSON file."""
    arguments = parse()
    with torch.inference_mode():
        results = run(arguments)
    records = results["records"]
    fast = getattr(torch.Tensor, "__dlpack_c_exchange_api__", None) is not None
    pdl = os.environ.get("POSTLUDE_PDL", "")
    print(f"DLPack's C functions: {'yes' if fast else 'no'}; POSTLUDE_PDL={pdl!r}\n")
    print(whole_table(records))
    print("\n" + parts_table(records))
    rows = [[name, f"{value:.2f}"] for name, value in results["steps"].items()]
    print("\n" + timing.table(["single steps", "us"], rows))
    over = sum(record["us"]["layer"]["median"] > LIMIT for record in records)
    print(f"\nbound layers over {LIMIT:.0f} us: {over} of {len(records)}")
    if arguments.json is not None:
        timing.save({"dlpack_c_functions": fast, "pdl": pdl, **results}, arguments.json)


if __name__ == "__main__":
    main()
