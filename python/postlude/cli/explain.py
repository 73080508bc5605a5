"""``postlude explain``: how a problem would run: each step, its kernel, and why others were
refused."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from typing import Any

from .models import ACTIVATIONS
from .tensors import DTYPES, Tensors

_ACTIVATIONS = ["none", *ACTIVATIONS]
_NORMS = ["none", "layer", "rms"]
_FORMS = ["pre_ln", "post_ln", "parallel"]
_WEIGHTS = ["plain", "packed", "int8"]
_EPS = 1e-5


def _add_sizes(parser: argparse.ArgumentParser, **sizes: str) -> None:
    for name, meaning in sizes.items():
        parser.add_argument(f"--{name}", type=int, required=True, metavar="SIZE", help=meaning)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bf16", help="(default: bf16)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument(
        "--batch-invariant", action="store_true", help="the same bits whatever M is"
    )
    parser.add_argument(
        "--tune-file", metavar="FILE", help="on a GPU: with the tiles that postlude tune put there"
    )


def _add_weight(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weight", choices=_WEIGHTS, default="plain", help="(default: plain)")
    parser.add_argument("--bias", action="store_true", help="with biases")
    parser.add_argument(
        "--allow-tf32", action="store_true", help="one TF32 product for each of fp32, on a GPU"
    )


def _add_product(parser: argparse.ArgumentParser) -> None:
    _add_weight(parser)
    parser.add_argument("--activation", choices=_ACTIVATIONS, default="none")
    parser.add_argument("--gated", action="store_true", help="act(gate) * up: twice the rows")
    parser.add_argument("--residual", action="store_true", help="with a residual to add")


def _add_norm(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--norm", choices=_NORMS, default="none", help="(default: none)")


def add_to(commands: Any) -> None:
    """Adds the subcommand, with one of its own an op."""
    parser = commands.add_parser("explain", help="how a problem would run", description=__doc__)
    parser.set_defaults(run=lambda options: parser.error("expected an op"))
    ops = parser.add_subparsers(metavar="OP")
    one: dict[str, argparse.ArgumentParser] = {}
    makers: dict[str, Callable[[argparse.Namespace, Tensors], tuple[list[Any], dict[str, Any]]]] = {
        "linear": _linear,
        "qkv": _qkv,
        "mlp": _mlp,
        "norm": _norm,
        "residual_add": _residual_add,
    }
    for op, make in makers.items():
        one[op] = ops.add_parser(op, help=make.__doc__, description=make.__doc__)
        one[op].set_defaults(run=run, op=op, make=make)
        _add_sizes(one[op], m="rows of x")
    for op in ("linear", "qkv"):
        _add_sizes(one[op], n="outputs", k="inputs")
    _add_sizes(one["mlp"], hidden="inputs and outputs", intermediate="width in between")
    _add_sizes(one["norm"], hidden="width")
    _add_sizes(one["residual_add"], hidden="width")
    _add_product(one["linear"])
    _add_weight(one["qkv"])
    _add_product(one["mlp"])
    for op in ("qkv", "mlp", "norm"):
        _add_norm(one[op])
    one["norm"].add_argument("--residual", action="store_true", help="with a residual to add first")
    one["residual_add"].add_argument("--form", choices=_FORMS, default="pre_ln")
    for op_parser in one.values():
        _add_common(op_parser)


def _norm_of(options: argparse.Namespace, tensor: Tensors, width: int) -> Any:
    from .. import LayerNorm, RMSNorm

    if options.norm == "none":
        return None
    if options.norm == "layer":
        return LayerNorm(tensor(width), tensor(width), _EPS)
    return RMSNorm(tensor(width), _EPS)


def _weight_of(
    options: argparse.Namespace, tensor: Tensors, shape: tuple[int, int], **pack: Any
) -> Any:
    from .. import ops

    if options.weight == "plain":
        return tensor(*shape)
    if not tensor.on_cpu:
        raise ValueError(
            f"[explain] weight: expected plain on a GPU, where preparing one takes memory, got "
            f"{options.weight}"
        )
    if options.weight == "packed":
        return ops.pack_weight(tensor(*shape, readable=True), **pack)
    return ops.quantize_weight(tensor(*shape, readable=True), groups=1)


def _activation(options: argparse.Namespace) -> str | None:
    return None if options.activation == "none" else options.activation


def _linear(options: argparse.Namespace, tensor: Tensors) -> tuple[list[Any], dict[str, Any]]:
    """out (M, N) = residual + act(x (M, K) weight^T + bias)"""
    m, n, k = options.m, options.n, options.k
    rows = 2 * n if options.gated else n
    weight = _weight_of(options, tensor, (rows, k), gated=options.gated)
    return [tensor(m, k), weight, tensor(rows) if options.bias else None], {
        "activation": _activation(options),
        "gated": options.gated,
        "residual": tensor(m, n) if options.residual else None,
        "out": tensor(m, n),
    }


def _qkv(options: argparse.Namespace, tensor: Tensors) -> tuple[list[Any], dict[str, Any]]:
    """out (M, N) = norm(x (M, K)) weight^T + bias"""
    m, n, k = options.m, options.n, options.k
    norm = _norm_of(options, tensor, k)
    weight = _weight_of(options, tensor, (n, k))
    bias = tensor(n) if options.bias else None
    return [tensor(m, k), weight, bias], {"norm": norm, "out": tensor(m, n)}


def _mlp(options: argparse.Namespace, tensor: Tensors) -> tuple[list[Any], dict[str, Any]]:
    """out (M, H) = r + act(norm(r) weight_in^T) weight_out^T, r = x (M, H) + residual"""
    m, h, i = options.m, options.hidden, options.intermediate
    rows = 2 * i if options.gated else i
    weight_in = _weight_of(options, tensor, (rows, h), gated=options.gated)
    weight_out = _weight_of(options, tensor, (h, i))
    biases = [tensor(rows), tensor(h)] if options.bias else [None, None]
    return [tensor(m, h), weight_in, weight_out, *biases], {
        "activation": _activation(options),
        "gated": options.gated,
        "norm": _norm_of(options, tensor, h),
        "residual": tensor(m, h) if options.residual else None,
        "out": tensor(m, h),
    }


def _norm(options: argparse.Namespace, tensor: Tensors) -> tuple[list[Any], dict[str, Any]]:
    """out (M, H) = norm(x (M, H) + residual)"""
    m, h = options.m, options.hidden
    return [tensor(m, h), _norm_of(options, tensor, h)], {
        "residual": tensor(m, h) if options.residual else None,
        "residual_out": tensor(m, h) if options.residual else None,
        "out": tensor(m, h),
    }


def _residual_add(options: argparse.Namespace, tensor: Tensors) -> tuple[list[Any], dict[str, Any]]:
    """out (M, H): DeepSpeed's residual sums"""
    m, h = options.m, options.hidden
    return [tensor(m, h), tensor(m, h)], {"form": options.form, "out": tensor(m, h)}


def run(options: argparse.Namespace) -> int:
    """Prints the plan."""
    from .. import explain, tuned

    tensor = Tensors(options.dtype, options.device)
    if options.tune_file is not None and tensor.on_cpu:
        raise ValueError(
            f"[explain] tune_file: expected a GPU as the device, as the CPU has no tiles to choose "
            f"from, got {options.device}"
        )
    with contextlib.nullcontext() if options.tune_file is None else tuned(options.tune_file):
        arguments, named = options.make(options, tensor)
        if "allow_tf32" in options:
            named["allow_tf32"] = options.allow_tf32
        text = explain(options.op, *arguments, batch_invariant=options.batch_invariant, **named)
    print(text.rstrip())
    return 0
