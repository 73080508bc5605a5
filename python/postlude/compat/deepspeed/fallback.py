"""The ops in PyTorch, for where no kernel of Postlude fits: every norm, activation, dtype, layout.

Each function takes the arguments of the function of the same name in ``postlude.ops`` that this
package passes, and computes ``postlude.reference``'s formula in float32, rounding each result once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ... import Weight, reference
from ...reference import QuantizedWeight


def linear(x: Tensor, weight: Any, *, out: Tensor | None = None) -> Tensor:
    """x (*, in), weight (N, in) -> (*, N)."""
    (y,) = _compute(reference.linear, x, weight)
    return _deliver(y, out)


def qkv(
    x: Tensor, weight: Any, bias: Tensor | None, *, norm: Any, return_normed: bool
) -> tuple[Tensor, ...]:
    """x (*, in), weight (N, in), bias (N,) -> (y (*, N), n (*, in))."""
    return _compute(reference.qkv, x, weight, bias, norm=norm, return_normed=return_normed)


def mlp(
    x: Tensor,
    *args: Any,
    return_normed: bool = False,
    residual_out: Tensor | None = None,
    batch_invariant: bool = False,
    weights_static: bool = True,
    allow_tf32: bool = False,
    **options: Any,
) -> Any:
    """``postlude.ops.mlp`` -> y, or (y, n) with ``return_normed``."""
    y, r, *n = _compute(
        reference.mlp, x, *args, return_residual=True, return_normed=return_normed, **options
    )
    if residual_out is not None:
        residual_out.copy_(r)
    return (y, *n) if return_normed else y


def norm(x: Tensor, norm: Any, *, batch_invariant: bool = False, **options: Any) -> Any:
    """``postlude.ops.norm`` -> n, or (n, r) where there is a residual or a bias."""
    results = _compute(reference.norm, x, norm, **options)
    return results if len(results) > 1 else results[0]


def residual_add(hidden_state: Tensor, residual: Tensor, **options: Any) -> Tensor:
    """``postlude.ops.residual_add`` -> (*, H)."""
    (y,) = _compute(reference.residual_add, hidden_state, residual, **options)
    return y


def pack_weight(weight: Tensor, **options: Any) -> Tensor:
    """The weight as it is."""
    return weight


def _compute(
    function: Callable[..., Any], x: Tensor, *args: Any, **kwargs: Any
) -> tuple[Tensor, ...]:
    """The results of the reference's ``function``, computed in float32, in x's dtype."""
    plain = [_plain(value) for value in args]
    result = reference.in_dtype(torch.float32, function, x, *plain, **kwargs)
    results = result if isinstance(result, tuple) else (result,)
    return tuple(tensor.to(x.dtype) for tensor in results)


def _plain(value: Any) -> Any:
    """A Weight as the tensors that the reference takes."""
    if not isinstance(value, Weight):
        return value
    if value.quantized:
        return QuantizedWeight(value.unpack(), value.scales)
    return value.unpack()


def _deliver(result: Tensor, out: Tensor | None) -> Tensor:
    return result if out is None else out.copy_(result)
