"""Times whole Hugging Face models with random weights on a GPU: prefill and decode, as they are,
compiled by torch, optimised by postlude, and both.

    python benchmarks/gpu_models.py [--models llama-3-8b] [--contenders eager postlude] [--json DIR]

Prefill is the time of calls of the model, launches and all. Decode is a step after a prompt, with a
static cache, as a CUDA graph. All contenders of a cell are in one process and take turns. One that
fails, or whose result is too far from that of the model as it is, is noted, and the program then
ends with status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import timing
import torch
import transformers

import postlude

DEVICE, DTYPE = "cuda", torch.bfloat16
PROMPT, STEPS = 128, 64  # tokens before the first step, steps of a turn
TOLERANCE = 0.1  # of the results' relative difference: two orders of bf16 roundings
PEERS = ("eager", "compile")
OURS = ("postlude", "postlude-compile")


class Work(NamedTuple):
    """What is timed: ``batch`` sequences of ``length`` tokens; with length 0 one step of each."""

    batch: int
    length: int

    def __str__(self) -> str:
        return f"prefill {self.batch}x{self.length}" if self.length else f"decode {self.batch}"


def llama_3_8b() -> Any:
    """Its sizes, 8 of its 32 layers."""
    config = transformers.LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=8,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=8192,
    )
    return transformers.LlamaForCausalLM(config)


def gpt2_xl() -> Any:
    """All 48 layers, with twice GPT-2's positions, for the prompts of the other decoder."""
    config = transformers.GPT2Config(n_embd=1600, n_layer=48, n_head=25, n_positions=2048)
    return transformers.GPT2LMHeadModel(config)


def bert_large() -> Any:
    """All 24 layers, without a head."""
    config = transformers.BertConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16
    )
    return transformers.BertModel(config)


DECODER = (Work(1, 2048), Work(8, 512), Work(1, 0), Work(16, 0), Work(64, 0))
MODELS: dict[str, tuple[Callable[[], Any], tuple[Work, ...]]] = {
    "llama-3-8b": (llama_3_8b, DECODER),
    "gpt2-xl": (gpt2_xl, DECODER),
    "bert-large": (bert_large, (Work(1, 128), Work(8, 512))),
}


def new_model(make: Callable[[], Any]) -> Any:
    """The model on the device, the same weights every time."""
    torch.manual_seed(0)
    with torch.device(DEVICE):
        torch.set_default_dtype(DTYPE)
        try:
            return make().eval()
        finally:
            torch.set_default_dtype(torch.float32)


class Prefill:
    """Calls of the model on one batch."""

    def __init__(self, model: Any, work: Work) -> None:
        tokens = torch.randint(
            model.config.vocab_size, (work.batch, work.length), generator=torch.manual_seed(1)
        ).to(DEVICE)
        self.call = lambda: model(tokens)

    def turn(self) -> Callable[[], object]:
        """What is timed."""
        return self.call

    def result(self) -> Any:
        """The logits, or the last hidden states."""
        return self.call()[0].float()


class Decode:
    """Steps of one token a sequence, as a graph, after a prompt that each turn reads anew."""

    def __init__(self, model: Any, work: Work) -> None:
        self.model = model
        self.cache = transformers.StaticCache(config=model.config, max_cache_len=PROMPT + STEPS + 8)
        self.prompt = torch.randint(
            model.config.vocab_size, (work.batch, PROMPT), generator=torch.manual_seed(1)
        ).to(DEVICE)
        self.token = self.prompt[:, :1].clone()
        stream, self.graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        self.start()
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            for _ in range(2):
                self.step()
        torch.cuda.synchronize()
        with torch.cuda.graph(self.graph, stream=stream):
            self.logits = self.step()

    def start(self) -> None:
        """Forgets all, and reads the prompt."""
        self.cache.reset()
        self.model(self.prompt, past_key_values=self.cache, use_cache=True)

    def step(self) -> Any:
        """The logits after one token more."""
        return self.model(self.token, past_key_values=self.cache, use_cache=True).logits

    def turn(self) -> Callable[[], object]:
        """A replay; STEPS of them fit into the cache."""
        self.start()
        return self.graph.replay

    def result(self) -> Any:
        """The logits of the first step."""
        self.turn()()
        torch.cuda.synchronize()
        return self.logits.float()


def contender(name: str, make: Callable[[], Any], work: Work) -> Prefill | Decode:
    """The work on a model of its own."""
    model = new_model(make)
    if name in OURS:
        report = postlude.optimize(model)
        if not report.fused:
            raise RuntimeError(f"nothing is fused: {report}")
    if name in ("compile", "postlude-compile"):
        model.forward = torch.compile(model.forward)
    return (Prefill if work.length else Decode)(model, work)


def microseconds(turn: Callable[[], object], most: int) -> float:
    """Of one call: the mean over a turn of about 20 ms, up to ``most`` calls."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    turn()
    torch.cuda.synchronize()
    before = time.perf_counter()
    turn()
    torch.cuda.synchronize()
    count = max(1, min(most - 2, round(0.02 / (time.perf_counter() - before))))
    start.record()
    for _ in range(count):
        turn()
    end.record()
    end.synchronize()
    return 1e3 * start.elapsed_time(end) / count


def measure(model: str, work: Work, names: list[str], rounds: int) -> dict[str, Any]:
    """One cell: the median of every contender, and how ours compare with the best of the others."""
    made: dict[str, Prefill | Decode] = {}
    record: dict[str, Any] = {"model": model, "work": str(work), "failed": {}, "difference": {}}
    expected = None
    for name in names:
        try:
            one = contender(name, MODELS[model][0], work)
            result = one.result()
        except Exception as error:
            record["failed"][name] = f"{type(error).__name__}: {error}"[:300]
            continue
        expected = result if expected is None else expected
        difference = float((result - expected).norm() / expected.norm())
        record["difference"][name] = difference
        if difference <= TOLERANCE:
            made[name] = one
        else:
            record["failed"][name] = f"relative difference {difference:.1e}"
    times: timing.Times = {name: [] for name in made}
    order = list(made)
    for _ in range(rounds):
        for name in order:
            times[name].append(microseconds(made[name].turn(), STEPS))
        order.append(order.pop(0))
    record["us"] = {name: timing.median(values) for name, values in times.items()}
    best = min((record["us"][name] for name in PEERS if name in made), default=None)
    if best is not None:
        record["ratio"] = {name: best / record["us"][name] for name in OURS if name in made}
    return record


@contextlib.contextmanager
def emptied() -> Iterator[None]:
    """Leaves no model and no compiled code behind."""
    try:
        yield
    finally:
        torch.compiler.reset()
        gc.collect()
        torch.cuda.empty_cache()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = timing.parser(__doc__, rounds=5)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--contenders", nargs="+", choices=(*PEERS, *OURS), default=[*PEERS, *OURS])
    parser.add_argument("--decode-only", action="store_true")
    parser.add_argument("--stop-after", type=float, default=900.0, help="seconds; no cell after it")
    return parser.parse_args()


@torch.inference_mode()
def main() -> int:
    """Measures every cell, prints a line each, and writes the JSON file after each."""
    options, start = parse(), time.monotonic()
    records = []
    for model in options.models:
        for work in MODELS[model][1]:
            unwanted = options.decode_only and work.length
            if unwanted or time.monotonic() - start > options.stop_after:
                print(f"not measured: {model} {work}", flush=True)
                continue
            with emptied():
                record = measure(model, work, options.contenders, options.rounds)
            records.append(record)
            us = " ".join(f"{name} {value:.0f}" for name, value in record["us"].items())
            ratios = " ".join(f"{name} {r:.3f}" for name, r in record.get("ratio", {}).items())
            failed = " ".join(f"{who}: {why}" for who, why in record["failed"].items())
            seconds = time.monotonic() - start
            print(f"{seconds:4.0f} s {model} {work}: {us} us | {ratios} {failed}", flush=True)
            timing.save({"records": records}, options.json)
    return 1 if any(record["failed"] for record in records) else 0


if __name__ == "__main__":
    sys.exit(main())
