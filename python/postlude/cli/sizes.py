"""The arguments by which ``postlude bench`` and ``postlude tune`` take a model and rows."""

from __future__ import annotations

import argparse
from typing import Any

from . import models
from .tensors import DTYPES

_SIZES = ("hidden", "intermediate", "heads", "kv_heads")


def add_to(parser: Any, rows: str) -> None:
    """Adds the arguments; ``rows`` is the default of --m."""
    parser.add_argument(
        "model",
        nargs="?",
        help=f"{', '.join(models.MODELS)}, or a config.json; or give sizes instead",
    )
    for name in _SIZES:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="SIZE")
    parser.add_argument("--activation", default="gelu_erf", help="with sizes (default: gelu_erf)")
    parser.add_argument("--gated", action="store_true", help="with sizes: act(gate) * up")
    parser.add_argument("--norm", choices=["layer", "rms"], default="layer", help="with sizes")
    parser.add_argument("--bias", action="store_true", help="with sizes: biases")
    parser.add_argument("--m", default=rows, metavar="M,M,...", help=f"rows (default: {rows})")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bf16", help="(default: bf16)")
    parser.add_argument("--device", help="cpu, cuda or cuda:N (default: cuda where there is one)")


def fail(command: str, argument: str, expected: str, got: object) -> ValueError:
    """The error of a command's argument."""
    return ValueError(f"[{command}] {argument}: expected {expected}, got {got}")


def shape_from(options: argparse.Namespace, command: str) -> models.Shape:
    """The sizes that the arguments name. ValueError for none, both, or sizes that cannot be."""
    given = {name: getattr(options, name) for name in _SIZES if getattr(options, name) is not None}
    if options.model is not None:
        if given:
            got = f"{options.model} and {', '.join(given)}"
            raise fail(command, "model", "a model or sizes", got)
        shape = models.shape_of(options.model, command)
    elif not {"hidden", "intermediate", "heads"} <= set(given):
        expected = "a model, or --hidden, --intermediate and --heads"
        raise fail(command, "model", expected, given or "neither")
    else:
        given.setdefault("kv_heads", given["heads"])
        kind = {"activation": options.activation, "gated": options.gated, "bias": options.bias}
        shape = models.Shape(**given, **kind, norm=options.norm, eps=1e-5)
    models.refuse_unusual(shape, command)
    return shape


def rows_from(text: str, command: str) -> list[int]:
    """The numbers of --m. ValueError for anything else."""
    parts = text.split(",")
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise fail(command, "m", "numbers from 1 up, with commas between them", repr(text))
    return [int(part) for part in parts]


def device_from(wanted: str | None, command: str) -> str:
    """--device, or the best that torch finds. ValueError for one that is not there."""
    import torch

    device = wanted or ("cuda" if torch.cuda.is_available() else "cpu")
    if device != "cpu" and not device.startswith("cuda"):
        raise fail(command, "device", "cpu, cuda or cuda:N", repr(device))
    if device != "cpu" and not torch.cuda.is_available():
        raise fail(command, "device", "a GPU that torch finds", "none")
    return device
