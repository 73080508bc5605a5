"""What the Triton ops check of their arguments, and how they see a tensor as rows.

Every refusal is a ValueError or a TypeError that names the op, the argument, what was expected and
what came.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..norms import LayerNorm, RMSNorm
from ..reference import ACTIVATIONS, ALIASES

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class Rows(NamedTuple):
    """A tensor (*, columns) as ``rows`` rows: row m begins at (m // inner) * outer_stride + (m %
    inner) * row_stride elements."""

    tensor: Tensor
    rows: int
    inner: int
    outer_stride: int
    row_stride: int


def refuse(op: str, argument: str, expected: str, got: Any) -> ValueError:
    """The error to raise for an argument."""
    return ValueError(f"[triton.{op}] {argument}: expected {expected}, got {got}")


def tensor(op: str, name: str, value: Any, like: Tensor | None = None) -> Tensor:
    """``value``, where it is a torch tensor without a gradient, on ``like``'s device."""
    if not isinstance(value, Tensor):
        got = type(value).__name__
        raise TypeError(f"[triton.{op}] {name}: expected a torch tensor, got {got}")
    if like is not None and value.device != like.device:
        raise refuse(op, name, f"a tensor on {like.device}, as x is", value.device)
    if value.requires_grad and torch.is_grad_enabled():
        raise RuntimeError(
            f"[triton.{op}] {name} requires grad, and this op is for inference only: call it under "
            "torch.inference_mode() or torch.no_grad()"
        )
    return value


def activations(op: str, x: Any) -> Tensor:
    """``x`` (*, columns), where its dtype and rank are those of activations."""
    x = tensor(op, "x", x)
    if x.dtype not in DTYPES:
        raise refuse(op, "x", "float32, bfloat16 or float16", _name(x.dtype))
    if x.dim() == 0:
        raise refuse(op, "x", "at least 1 dimension", "a scalar")
    return x


def as_rows(op: str, name: str, value: Tensor) -> Rows:
    """A tensor (*, columns) as rows, without a copy.

    ValueError where the last dimension's stride is not 1, or where the leading dimensions are not
    those of at most two nested loops.
    """
    *sizes, columns = value.shape
    *strides, last = value.stride()
    if last != 1 and columns > 1 and value.numel() > 0:
        expected = "stride 1 in the last dimension"
        raise refuse(op, name, expected, f"strides {tuple(value.stride())}")
    loops: list[tuple[int, int]] = []  # (size, stride), outer ones first
    for size, stride in zip(sizes, strides, strict=True):
        if size == 1:
            continue
        if loops and loops[-1][1] == size * stride:
            loops[-1] = (loops[-1][0] * size, stride)
        else:
            loops.append((size, stride))
    if value.numel() == 0:
        count = 1
        for size in sizes:
            count *= size
        return Rows(value, count, 1, 0, 0)
    if len(loops) > 2:
        expected = "leading dimensions that at most two strides walk through (call .contiguous())"
        raise refuse(op, name, expected, f"shape {tuple(value.shape)}, strides {value.stride()}")
    outer, inner = [(1, 0), (1, 0), *loops][-2:]
    return Rows(value, outer[0] * inner[0], inner[0], outer[1], inner[1])


def same_shape(op: str, name: str, value: Any, shape: tuple[int, ...], x: Tensor) -> Rows:
    """``value`` as rows, where it has that shape and x's dtype."""
    value = tensor(op, name, value, x)
    if tuple(value.shape) != shape:
        raise refuse(op, name, f"shape {shape}", f"shape {tuple(value.shape)}")
    if value.dtype != x.dtype:
        raise refuse(op, name, f"{_name(x.dtype)}, as x is", _name(value.dtype))
    return as_rows(op, name, value)


def vector(op: str, name: str, value: Any, size: int, x: Tensor) -> Tensor | None:
    """``value`` (size,), contiguous, of x's dtype or float32; None stays None."""
    if value is None:
        return None
    value = tensor(op, name, value, x)
    if tuple(value.shape) != (size,):
        raise refuse(op, name, f"shape {(size,)}", f"shape {tuple(value.shape)}")
    if value.dtype not in (x.dtype, torch.float32):
        allowed = " or ".join(dict.fromkeys((_name(x.dtype), "float32")))
        raise refuse(op, name, allowed, _name(value.dtype))
    if size > 1 and value.stride(0) != 1:
        raise refuse(op, name, "stride 1", f"strides {value.stride()}")
    return value


def matrix(op: str, name: str, value: Any, columns: int, x: Tensor) -> Tensor:
    """``value`` (out, columns) of x's dtype, with any strides."""
    value = tensor(op, name, value, x)
    if value.dim() != 2 or value.shape[1] != columns:
        raise refuse(op, name, f"shape (out, {columns})", f"shape {tuple(value.shape)}")
    if value.dtype != x.dtype:
        raise refuse(op, name, f"{_name(x.dtype)}, as x is", _name(value.dtype))
    return value


def check_output(
    op: str, argument: str, out: Any, shape: tuple[int, ...], others: dict[str, Tensor | None]
) -> None:
    """ValueError where ``out`` is not contiguous, not of that shape or of another dtype than
    ``others["x"]``, or where it shares memory with one of them.

    It may be exactly the residual, and ``residual_out`` also x.
    """
    may_be = ("residual", "x") if argument == "residual_out" else ("residual",)
    x = others["x"]
    assert x is not None
    same_shape(op, argument, out, shape, x)
    if not out.is_contiguous():
        raise refuse(op, argument, "a contiguous tensor", f"strides {out.stride()}")
    begin, end = _extent(out)
    for name, other in others.items():
        if other is None or (name in may_be and _same_place(out, other)):
            continue
        first, last = _extent(other)
        if begin < last and first < end:
            raise refuse(op, argument, f"memory that {name} does not use", "an overlap with it")


def _same_place(a: Tensor, b: Tensor) -> bool:
    return a.data_ptr() == b.data_ptr() and a.stride() == b.stride()


def _extent(value: Tensor) -> tuple[int, int]:
    """The addresses from the first to behind the last element."""
    begin = value.data_ptr()
    if value.numel() == 0:
        return begin, begin
    last = sum(
        (size - 1) * stride for size, stride in zip(value.shape, value.stride(), strict=True)
    )
    return begin, begin + (last + 1) * value.element_size()


def activation_name(op: str, activation: str | None) -> str:
    """The exact name of an activation, or "none"."""
    if activation is None:
        return "none"
    name = ALIASES.get(activation, activation)
    if name not in ACTIVATIONS:
        known = ", ".join([*ACTIVATIONS, *ALIASES])
        raise refuse(op, "activation", f"None or one of {known}", repr(activation))
    return name


def check_norm(op: str, norm: Any, size: int, x: Tensor) -> None:
    """TypeError where ``norm`` is no norm and not None; ValueError where it does not fit x."""
    if norm is None:
        return
    if not isinstance(norm, (LayerNorm, RMSNorm)):
        got = type(norm).__name__
        raise TypeError(f"[triton.{op}] norm: expected a LayerNorm, an RMSNorm or None, got {got}")
    vector(op, "norm.weight", norm.weight, size, x)
    if isinstance(norm, LayerNorm):
        vector(op, "norm.bias", norm.bias, size, x)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
