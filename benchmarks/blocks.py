"""Times the MLP and QKV blocks of known models: torch eager, bound layers, ops on plain weights.

    mlp: y = x + W2 act(W1 norm(x) + b1) + b2    or, gated, x + Wd (act(Wg norm(x)) * Wu norm(x))
    qkv: y = norm(x) [Wq; Wk; Wv]^T + b

Several copies of the weights take turns, as the layers of a model do.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import timing
import torch
import torch.nn.functional as F
from shapes import MODELS, Shape

from postlude import LayerNorm, RMSNorm, nn, ops

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TOLERANCE = {"fp32": 1e-5, "bf16": 2e-2, "fp16": 3e-3}
TORCH_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu_erf": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
}
TIE = 0.97

Tensor = torch.Tensor
Block = Callable[[Tensor], Tensor]


def torch_norm(shape: Shape, norm: Any) -> Block:
    """The layer's norm in torch."""
    size = (shape.hidden,)
    if shape.norm == "layer":
        return lambda x: F.layer_norm(x, size, norm.weight, norm.bias, shape.eps)
    return lambda x: F.rms_norm(x, size, norm.weight, shape.eps)


def plain_norm(shape: Shape, norm: Any) -> LayerNorm | RMSNorm:
    """The layer's norm as ops take it."""
    if shape.norm == "layer":
        return LayerNorm(norm.weight, norm.bias, shape.eps)
    return RMSNorm(norm.weight, shape.eps)


def mlp_blocks(shape: Shape, **where: Any) -> dict[str, Block]:
    """One copy of the MLP block, as every contender computes it."""
    options: dict[str, Any] = {"activation": shape.activation, "gated": shape.gated}
    layer: Any = nn.MLP(
        shape.hidden,
        shape.intermediate,
        bias=shape.bias,
        norm=shape.norm,
        eps=shape.eps,
        **options,
        **where,
    )
    norm, act = torch_norm(shape, layer.norm), TORCH_ACTIVATIONS[shape.activation]
    own_norm = plain_norm(shape, layer.norm)
    if shape.gated:
        gate, up, down = layer.gate.weight, layer.up.weight, layer.down.weight
        merged = torch.cat([gate, up])

        def eager(x: Tensor) -> Tensor:
            n = norm(x)
            return x + F.linear(act(F.linear(n, gate)) * F.linear(n, up), down)

        def plain(x: Tensor) -> Tensor:
            return ops.mlp(x, merged, down, norm=own_norm, **options)

    else:
        w1, b1, w2, b2 = layer.fc1.weight, layer.fc1.bias, layer.fc2.weight, layer.fc2.bias

        def eager(x: Tensor) -> Tensor:
            return x + F.linear(act(F.linear(norm(x), w1, b1)), w2, b2)

        def plain(x: Tensor) -> Tensor:
            return ops.mlp(x, w1, w2, b1, b2, norm=own_norm, **options)

    return {"torch": eager, "bound": layer, "plain": plain}


def qkv_blocks(shape: Shape, **where: Any) -> dict[str, Block]:
    """One copy of the QKV block, as every contender computes it; torch too gets merged weights."""
    layer = nn.QKV(
        shape.hidden,
        shape.heads,
        shape.kv_heads,
        bias=shape.bias,
        norm=shape.norm,
        eps=shape.eps,
        **where,
    )
    parts = (layer.q, layer.k, layer.v)
    weight = torch.cat([part.weight for part in parts])
    bias = torch.cat([part.bias for part in parts]) if shape.bias else None
    norm, own_norm = torch_norm(shape, layer.norm), plain_norm(shape, layer.norm)
    return {
        "torch": lambda x: F.linear(norm(x), weight, bias),
        "bound": layer.merged,
        "plain": lambda x: ops.qkv(x, weight, bias, norm=own_norm),
    }


BLOCKS = {"mlp": mlp_blocks, "qkv": qkv_blocks}


def check(blocks: dict[str, Block], x: Tensor, limit: float) -> None:
    """Raises ValueError where a contender computes something else than torch does."""
    expected = blocks["torch"](x).double()
    for name, block in blocks.items():
        error = float((block(x).double() - expected).norm() / expected.norm())
        if not error <= limit:
            raise ValueError(f"{name}: relative error {error:.1e}, allowed {limit:.0e}")


def in_turn(copies: list[Block], x: Tensor) -> Callable[[], Tensor]:
    """A call that uses another copy of the weights each time."""
    cycle = itertools.cycle(copies)
    return lambda: next(cycle)(x)


def measure(arguments: Any) -> Iterator[dict[str, Any]]:
    """One record for every model, block, dtype and M asked for."""
    wait = torch.cuda.synchronize if arguments.device == "cuda" else int
    kinds = itertools.product(arguments.models, arguments.blocks, arguments.dtypes)
    for model, kind, name in kinds:
        shape, where = MODELS[model], {"dtype": DTYPES[name], "device": arguments.device}
        torch.manual_seed(0)
        copies = [BLOCKS[kind](shape, **where) for _ in range(arguments.copies)]
        for m in arguments.m:
            x = torch.randn(m, shape.hidden, **where)
            for blocks in copies:
                check(blocks, x, TOLERANCE[name])
            calls = {who: in_turn([copy[who] for copy in copies], x) for who in copies[0]}
            times = timing.interleaved(calls, rounds=arguments.rounds, wait=wait)
            yield {
                "model": model,
                "block": kind,
                "dtype": name,
                "m": m,
                "us": {who: timing.MICRO * timing.median(times[who]) for who in times},
                "bound_speedup": timing.speedup(times, "bound", "torch"),
                "plain_speedup": timing.speedup(times, "plain", "torch"),
            }


def row(record: dict[str, Any]) -> list[str]:
    """A record as cells of the table."""
    us = record["us"]
    return [
        f"{record['model']} {record['block']} {record['dtype']}",
        str(record["m"]),
        f"{us['torch']:.1f}",
        f"{us['bound']:.1f}",
        f"{record['bound_speedup']:.2f}{'' if record['bound_speedup'] >= TIE else ' <'}",
        f"{us['plain']:.1f}",
        f"{record['plain_speedup']:.2f}",
    ]


def main() -> None:
    """Measures, prints the table and writes the JSON file."""
    parser = timing.parser(__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["bert-base"])
    parser.add_argument("--blocks", nargs="+", choices=BLOCKS, default=list(BLOCKS))
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=["fp32", "bf16"])
    parser.add_argument("--m", nargs="+", type=int, default=[1, 16, 128, 1024], help="rows of x")
    parser.add_argument(
        "--copies", type=int, default=32, help="copies of the weights (default: 32)"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()

    records = []
    with torch.inference_mode():
        for record in measure(arguments):
            records.append(record)
            print(".", end="", flush=True)
    header = ["block", "M", "torch us", "bound us", "speed-up", "plain us", "speed-up"]
    print("\n" + timing.table(header, [row(record) for record in records]))
    bound, plain = (
        timing.geometric_mean(record[key] for record in records)
        for key in ("bound_speedup", "plain_speedup")
    )
    slower = sum(record["bound_speedup"] < TIE for record in records)
    print(f"\ngeometric mean of the speed-ups: bound {bound:.2f}, plain {plain:.2f}")
    print(f"cells where bound is slower than torch (marked <): {slower} of {len(records)}")
    means = {"bound": bound, "plain": plain}
    timing.save({"records": records, "geometric_mean": means}, arguments.json)


if __name__ == "__main__":
    main()
