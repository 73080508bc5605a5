"""``postlude demo``: a Llama-like layer with random weights, computed by Postlude, checked against
float64, and timed beside NumPy and PyTorch.

It needs nothing but Postlude; PyTorch takes part where it is installed, and the layer then runs on
a GPU where there is one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from . import models, sizes
from .timing import progress, replay, take_turns, waiter

SHAPE = models.llama(768, 2048, 12, 12)
ROWS = (1, 16, 128)
_EPS = SHAPE.eps
# The relative error that the layer may have in each dtype.
_TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}

Layer = Callable[[Any], Any]
Weights = dict[str, Any]


def add_to(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser(
        "demo", help="one layer, checked and timed", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("--device", help="cpu or cuda (default: cuda where torch finds a GPU)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each (default: 7)")
    parser.set_defaults(run=run)


def random_weights(seed: int = 0) -> Weights:
    """The layer's weights, (out, in) each, in float32."""
    random = np.random.default_rng(seed)
    hidden, width = SHAPE.hidden, SHAPE.intermediate
    shapes = {
        "qkv": (SHAPE.qkv_features, hidden),
        "out": (hidden, hidden),
        "gate_up": (2 * width, hidden),
        "down": (hidden, width),
    }
    made = {
        name: random.standard_normal(shape, dtype=np.float32) * np.float32(shape[1] ** -0.5)
        for name, shape in shapes.items()
    }
    for name in ("norm", "norm_mlp"):
        made[name] = 1 + 0.1 * random.standard_normal(hidden, dtype=np.float32)
    return made


def _heads(qkv: Any) -> Any:
    """Queries, keys and values (heads, m, head_dim) of rows (m, 3 hidden), of either framework."""
    parts = qkv.reshape(len(qkv), 3, SHAPE.heads, SHAPE.head_dim)
    return (parts[:, i].swapaxes(0, 1) for i in range(3))


def _numpy_attention(qkv: Any) -> Any:
    q, k, v = _heads(qkv)
    scores = q @ k.swapaxes(1, 2) / np.sqrt(np.asarray(SHAPE.head_dim, qkv.dtype))
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = scores / scores.sum(-1, keepdims=True) @ v
    return np.ascontiguousarray(mixed.swapaxes(0, 1).reshape(len(qkv), -1))


def numpy_layer(weights: Weights, x: Any) -> Any:
    """The layer in plain NumPy, in the dtype of its arguments."""

    def norm(rows: Any, weight: Any) -> Any:
        mean = (rows * rows).mean(-1, keepdims=True)
        return rows / np.sqrt(mean + rows.dtype.type(_EPS)) * weight

    qkv = norm(x, weights["norm"]) @ weights["qkv"].T
    r = x + _numpy_attention(qkv) @ weights["out"].T
    gate, up = np.split(norm(r, weights["norm_mlp"]) @ weights["gate_up"].T, 2, axis=-1)
    return r + gate / (1 + np.exp(-gate)) * up @ weights["down"].T


def _torch_attention(qkv: Any) -> Any:
    import torch.nn.functional as F

    q, k, v = _heads(qkv)
    return F.scaled_dot_product_attention(q, k, v).swapaxes(0, 1).reshape(len(qkv), -1)


def torch_layer(weights: Weights, x: Any) -> Any:
    """The layer in PyTorch's own operations."""
    import torch.nn.functional as F

    n = F.rms_norm(x, (SHAPE.hidden,), weights["norm"], _EPS)
    r = x + F.linear(_torch_attention(F.linear(n, weights["qkv"])), weights["out"])
    n = F.rms_norm(r, (SHAPE.hidden,), weights["norm_mlp"], _EPS)
    gate, up = F.linear(n, weights["gate_up"]).chunk(2, -1)
    return r + F.linear(F.silu(gate) * up, weights["down"])


def postlude_layer(weights: Weights, attention: Layer) -> Layer:
    """The layer with Postlude: three calls around the attention of the weights' framework."""
    from .. import RMSNorm, ops

    qkv = ops.Qkv(weights["qkv"], norm=RMSNorm(weights["norm"], _EPS))
    out = ops.Linear(weights["out"])
    mlp = ops.Mlp(
        weights["gate_up"],
        weights["down"],
        activation="silu",
        gated=True,
        norm=RMSNorm(weights["norm_mlp"], _EPS),
    )
    return lambda x: mlp(out(attention(qkv(x)), x))


def _contenders(device: str) -> tuple[dict[str, Layer], Layer, Callable[[Any], Any], str]:
    """The layers by name, the layer in float64, what makes their input of an array, and the
    dtype."""
    weights = random_weights()
    if device == "none":  # no torch
        exact = partial(numpy_layer, {k: w.astype(np.float64) for k, w in weights.items()})
        layers: dict[str, Layer] = {
            "numpy": partial(numpy_layer, weights),
            "postlude": postlude_layer(weights, _numpy_attention),
        }
        return layers, exact, lambda x: x, "float32"
    import torch

    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    tensors = {k: torch.from_numpy(w).to(device, dtype) for k, w in weights.items()}
    # What the tensors hold: rounded, where the dtype is short.
    rounded = {k: w.cpu().double().numpy() for k, w in tensors.items()}
    layers = {
        "torch": partial(torch_layer, tensors),
        "postlude": postlude_layer(tensors, _torch_attention),
    }
    if device == "cpu":
        layers = {"numpy": lambda x: numpy_layer(weights, x.numpy()), **layers}

    def tensor(x: Any) -> Any:
        return torch.from_numpy(x).to(device, dtype)

    return layers, partial(numpy_layer, rounded), tensor, str(dtype).removeprefix("torch.")


def _as_float64(y: Any) -> Any:
    return np.asarray(y if isinstance(y, np.ndarray) else y.cpu().double().numpy(), np.float64)


def _device(wanted: str | None) -> str:
    """--device, or the best that there is; "none" where torch is missing."""
    from .. import show_config

    try:
        import torch  # noqa: F401
    except ImportError:
        if wanted not in (None, "cpu"):
            raise sizes.fail("demo", "device", "cpu, as there is no torch", wanted) from None
        return "none"
    if wanted is None and "cuda: not built" in show_config():
        return "cpu"
    return sizes.device_from(wanted, "demo")


def run(options: argparse.Namespace) -> int:
    """Computes, checks, times and prints; 1 where a result is wrong."""
    if options.rounds < 1:
        raise sizes.fail("demo", "rounds", "a number from 1 up", options.rounds)
    device = _device(options.device)
    if device == "none":
        return _race("none", options.rounds)
    import torch

    with torch.inference_mode():
        return _race(device, options.rounds)


def _race(device: str, rounds: int) -> int:
    layers, exact, tensor, dtype = _contenders(device)
    graphs = device.startswith("cuda")
    where = "cpu" if device == "none" else device
    print(
        f"A Llama-like layer: hidden {SHAPE.hidden}, intermediate {SHAPE.intermediate}, "
        f"{SHAPE.heads} heads, random weights, {dtype} on {where}\n\n"
        f"{'rows':>6}" + "".join(f"{name:>14}" for name in layers) + "   error of postlude"
    )
    worst = 0.0
    for done, m in enumerate(ROWS):
        progress(f"{m} rows", done, len(ROWS))
        x = np.random.default_rng(m).standard_normal((m, SHAPE.hidden), dtype=np.float32)
        given = tensor(x)
        expected = exact(_as_float64(given))
        errors = {
            name: float(np.linalg.norm(_as_float64(layer(given)) - expected))
            / float(np.linalg.norm(expected))
            for name, layer in layers.items()
        }
        replays = {
            name: replay([partial(layer, given)], device) if graphs else partial(layer, given)
            for name, layer in layers.items()
        }
        wait = waiter(device) if graphs else int
        seconds = take_turns(replays, rounds, wait)
        progress("")
        times = "".join(f"{value * 1e3:11.3f} ms" for value in seconds.values())
        print(f"{m:>6}{times}   {errors['postlude']:.1e}")
        worst = max(worst, *errors.values())
    allowed = _TOLERANCE[dtype]
    print(f"\nAgainst float64: relative error {worst:.1e} at most, {allowed:.0e} allowed.")
    if not worst <= allowed:
        print("[demo] a result is wrong", file=sys.stderr)
        return 1
    return 0
