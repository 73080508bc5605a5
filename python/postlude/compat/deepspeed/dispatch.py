"""Where an op runs: Postlude's kernels, or PyTorch where none of them fits."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from typing import Any

from ... import Unsupported, ops
from ...reference import QuantizedWeight
from . import fallback

_LOGGER = logging.getLogger("postlude.compat.deepspeed")
_HEAD = re.compile(r"\[[\w.]+\] ([\w.]+)")  # "[op] argument", which opens an error of ops
_DEVICES = ("cpu", "cuda")
_LOGGED: set[str] = set()  # the ops whose fallback was logged; no result depends on it


def run(
    op: str, kernels: Any, function: str, names: Mapping[str, str], *args: Any, **kwargs: Any
) -> Any:
    """``function`` ("linear", "qkv", "mlp", "norm" or "residual_add") of ``kernels``, which has
    functions such as those of ``postlude.ops``; where they raise Unsupported, PyTorch computes the
    same.

    An error names ``op`` and the caller's arguments: ``names`` says what those of ``function`` are
    called there.
    """
    device = args[0].device
    try:
        if device.type not in _DEVICES:
            raise Unsupported(f"[{op}] device: expected cpu or cuda, got {device}")
        lent = [lend(value) if type(value) is QuantizedWeight else value for value in args]
        return getattr(kernels, function)(*lent, **kwargs)
    except Unsupported as reason:
        allow_fallback(op, reason)
    except (ValueError, TypeError, RuntimeError) as error:
        head = _HEAD.match(str(error))
        if head is None or type(error) not in (ValueError, TypeError, RuntimeError):
            raise
        argument, _, field = head[1].partition(".")
        name = names.get(head[1], names.get(argument, argument) + (field and f".{field}"))
        raise type(error)(f"[{op}] {name}{str(error)[head.end() :]}") from error
    return getattr(fallback, function)(*args, **kwargs)


def lend(weight: QuantizedWeight) -> Any:
    """The Weight on these int8 values and scales, which are not copied."""
    group = "rows" if weight.scales.dim() == 1 else "k"
    return ops.quantized_weight(weight.values, weight.scales, group=group)


def allow_fallback(op: str, reason: Exception) -> None:
    """Logs, once an op, that PyTorch computes it; raises ``reason`` where that is forbidden."""
    if os.environ.get("POSTLUDE_STRICT", "") not in ("", "0"):
        raise reason
    if op not in _LOGGED:
        _LOGGED.add(op)
        _LOGGER.warning("%s: PyTorch computes it, as no kernel of Postlude does: %s", op, reason)
