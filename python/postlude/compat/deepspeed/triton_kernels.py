"""The ops on Triton's kernels, where config.use_triton asks for them and they fit."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ... import Unsupported, ops, triton
from ...triton.launch import why_not
from .config import DeepSpeedInferenceConfig

_LOGGER = logging.getLogger("postlude.compat.deepspeed")
_LOGGED: set[tuple[str, str]] = set()  # (op, reason); no result depends on it


def select(op: str, config: DeepSpeedInferenceConfig) -> Any:
    """``postlude.ops``, or with ``config.use_triton`` the same functions on Triton's kernels."""
    return TritonKernels(op, config.triton_autotune) if config.use_triton else ops


class TritonKernels:
    """The functions of ``postlude.ops`` that this package calls, on Triton's kernels.

    They take float16 and bfloat16 tensors on a GPU, with weights that are plain tensors; what else
    comes, or asks for ``batch_invariant``, goes to ``postlude.ops``. That is logged once for each
    op and reason, and raises ``postlude.Unsupported`` where POSTLUDE_STRICT=1.
    """

    # The sum after the MLP, where there is one, has no product to fuse it into.
    residual_add = staticmethod(ops.residual_add)

    def __init__(self, op: str, autotune: bool) -> None:
        self._op = op
        self._autotune = autotune

    def linear(self, x: Tensor, weight: Any, **options: Any) -> Any:
        """``postlude.ops.linear``."""
        return self._product("linear", (weight,), x, weight, **options)

    def qkv(self, x: Tensor, weight: Any, *args: Any, **options: Any) -> Any:
        """``postlude.ops.qkv``."""
        return self._product("qkv", (weight,), x, weight, *args, **options)

    def mlp(self, x: Tensor, weight_in: Any, weight_out: Any, *args: Any, **options: Any) -> Any:
        """``postlude.ops.mlp``."""
        weights = (weight_in, weight_out)
        return self._product("mlp", weights, x, *weights, *args, **options)

    def norm(self, x: Tensor, norm: Any, *, batch_invariant: bool = False, **options: Any) -> Any:
        """``postlude.ops.norm``; no row of a norm depends on how many there are."""
        run = self._choose(triton.norm, ops.norm, _refusal(x, ()))
        return run(x, norm, **options)

    def _product(self, name: str, weights: tuple[Any, ...], *args: Any, **options: Any) -> Any:
        reason = _refusal(args[0], weights)
        if options.get("batch_invariant"):
            reason = reason or "their tile depends on the number of rows, not so batch_invariant's"
        run = self._choose(getattr(triton, name), getattr(ops, name), reason)
        if not reason:
            options.pop("batch_invariant", None)
            options.pop("weights_static", None)  # they never read a weight ahead of time
            options.pop("allow_tf32", None)  # nothing here is float32
            options["autotune"] = self._autotune
        return run(*args, **options)

    def _choose(
        self, ours: Callable[..., Any], others: Callable[..., Any], reason: str
    ) -> Callable[..., Any]:
        if not reason:
            return ours
        if os.environ.get("POSTLUDE_STRICT", "") not in ("", "0"):
            raise Unsupported(f"[{self._op}] Triton's kernels do not compute it: {reason}")
        if (self._op, reason) not in _LOGGED:
            _LOGGED.add((self._op, reason))
            message = "%s: postlude.ops computes it, as Triton's kernels do not: %s"
            _LOGGER.warning(message, self._op, reason)
        return others


def _refusal(x: Tensor, weights: tuple[Any, ...]) -> str:
    """Why Triton's kernels are not taken for these, or ""."""
    if x.dtype not in (torch.float16, torch.bfloat16):
        return f"they are taken for float16 and bfloat16, got {x.dtype}"
    if not all(isinstance(weight, Tensor) for weight in weights):
        return "they take weights that are plain tensors, got one that is packed or int8"
    return why_not(x)
