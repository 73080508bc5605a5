"""How an operator of namespace ``postlude`` is defined: its schema, its kernel, its fake kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_LIBRARY = torch.library.Library("postlude", "DEF")

# Kernels take inner strides of 1 only, so a compiler must hand over the strides that it was told.
_STRIDES = getattr(torch.Tag, "needs_exact_strides", torch.Tag.needs_fixed_stride_order)
_TAGS = (torch.Tag.pt2_compliant_tag, _STRIDES)

OPERATORS: list[str] = []
"""The qualified names of all that is registered, ``name`` or ``name.overload``."""


def register(
    name: str,
    schema: str,
    kernel: Callable[..., Any],
    fake: Callable[..., Any],
    refuse: Callable[..., None] | None = None,
) -> None:
    """Registers ``postlude::name`` for the CPU and CUDA, and its fake kernel for tracing.

    The fake kernel also refuses tensors that require grad, by ``refuse`` or in the words of the
    kernel: what a compiler makes of the traced graph no longer shows it.
    """

    def traced(*args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled():
            (refuse or refuse_grad)(name, args, kwargs)
        return fake(*args, **kwargs)

    _LIBRARY.define(name + schema, tags=_TAGS)
    for device in ("CPU", "CUDA"):
        _LIBRARY.impl(name, kernel, device)
    torch.library.register_fake(f"postlude::{name}", traced, lib=_LIBRARY)
    OPERATORS.append(name)


def refuse_grad(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """RuntimeError, in the words of the eager operations, where an argument requires grad."""
    operator, _, overload = name.partition(".")
    schema = getattr(getattr(torch.ops.postlude, operator), overload or "default")._schema
    named = dict(zip((argument.name for argument in schema.arguments), args, strict=False))
    for argument, value in (named | kwargs).items():
        for tensor in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(tensor, Tensor) and tensor.requires_grad:
                raise RuntimeError(
                    f"[{operator}] {argument.replace('norm_', 'norm.')}: expected a tensor that "
                    "needs no gradient, got one that requires grad; Postlude is for inference: "
                    "call it under torch.no_grad() or torch.inference_mode(), or pass .detach()"
                )
