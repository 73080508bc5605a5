"""The executable specification: what every operation computes, in plain torch and naive on purpose.

Each function takes the mathematical arguments of the function of the same name in ``postlude.ops``
and computes in the dtypes it is given, rounding after every step as torch does. ``exact(linear, x,
weight)`` computes the same formula in float64: that is the reference to which results are compared.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .norms import LayerNorm, RMSNorm

Norm = LayerNorm | RMSNorm


def _gelu_erf(z: Tensor) -> Tensor:
    return 0.5 * z * torch.special.erfc(-z / math.sqrt(2.0))


def _gelu_tanh(z: Tensor) -> Tensor:
    # 0.5 * (1 + tanh(u)) is sigmoid(2 * u), which does not cancel for large negative u.
    return z * torch.sigmoid(2.0 * math.sqrt(2.0 / math.pi) * (z + 0.044715 * z * z * z))


def _quick_gelu(z: Tensor) -> Tensor:
    return z * torch.sigmoid(1.702 * z)


def _silu(z: Tensor) -> Tensor:
    return z * torch.sigmoid(z)


def _relu2(z: Tensor) -> Tensor:
    return torch.relu(z) * torch.relu(z)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu_erf": _gelu_erf,
    "gelu_tanh": _gelu_tanh,
    "quick_gelu": _quick_gelu,
    "silu": _silu,
    "relu2": _relu2,
}

ALIASES = {
    "gelu": "gelu_erf",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "swish": "silu",
}


class QuantizedWeight(NamedTuple):
    """Symmetric int8: ``values`` (out, in); ``scales`` float32 (groups,) or (out, in / size)."""

    values: Tensor
    scales: Tensor


def exact(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls ``function`` with every floating-point tensor (also inside a norm) as float64."""
    return in_dtype(torch.float64, function, *args, **kwargs)


def in_dtype(dtype: torch.dtype, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls ``function`` with every floating-point tensor (also inside a norm) in ``dtype``."""
    return function(
        *(_converted(value, dtype) for value in args),
        **{name: _converted(value, dtype) for name, value in kwargs.items()},
    )


def activate(z: Tensor, activation: str | None) -> Tensor:
    """act(z), element by element; None is the identity. ValueError for an unknown name."""
    if activation is None:
        return z
    name = ALIASES.get(activation, activation)
    if name not in ACTIVATIONS:
        known = ", ".join([*ACTIVATIONS, *ALIASES])
        raise ValueError(
            f"[reference] activation: expected None or one of {known}, got {activation!r}"
        )
    return ACTIVATIONS[name](z)


def linear(
    x: Tensor,
    weight: Tensor | QuantizedWeight,
    bias: Tensor | None = None,
    *,
    activation: str | None = None,
    gated: bool = False,
    layout: str = "gate_up",
    residual: Tensor | None = None,
    alpha: float = 1.0,
    clamp: float | None = None,
) -> Tensor:
    """x (*, in), weight (out, in), bias (out,) -> (*, out); gated: weight (2 * I, in) -> (*, I).

    z = x W^T + bias; h = act(z), or act(z_gate) * z_up when gated; out = residual + alpha * h. With
    a clamp, z_gate is at most clamp and z_up within [-clamp, clamp].
    """
    z = _product(x, weight, bias)
    h = _gate(z, activation, layout, clamp) if gated else activate(z, activation)
    out = alpha * h if residual is None else residual + alpha * h
    return out.to(x.dtype)


def qkv(
    x: Tensor,
    weight: Tensor | QuantizedWeight,
    bias: Tensor | None = None,
    *,
    norm: Norm | None = None,
    return_normed: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """y = norm(x) W^T + bias; x (*, in), weight (out, in) -> y (*, out), or (y, norm(x))."""
    n = _normalise(x, norm)
    y = _product(n, weight, bias)
    return (y, n) if return_normed else y


def mlp(
    x: Tensor,
    weight_in: Tensor | QuantizedWeight,
    weight_out: Tensor | QuantizedWeight,
    bias_in: Tensor | None = None,
    bias_out: Tensor | None = None,
    *,
    activation: str | None,
    gated: bool = False,
    layout: str = "gate_up",
    clamp: float | None = None,
    norm: Norm | None = None,
    residual: Tensor | None = None,
    input_bias: Tensor | None = None,
    add_residual: bool | Tensor = True,
    return_residual: bool = False,
    return_normed: bool = False,
) -> Tensor | tuple[Tensor, ...]:
    """x (*, H), weight_in (I, H) or (2 * I, H) when gated, weight_out (H, I) -> y (*, H), or (y,
    [r], [n]).

    r = x (+ residual) (+ input_bias); n = norm(r); y = act(n Win^T + bias_in) Wout^T + bias_out,
    plus r where add_residual is True, or plus the tensor that it is.
    """
    r = _sum(x, residual, input_bias)
    n = _normalise(r, norm)
    z = _product(n, weight_in, bias_in)
    h = _gate(z, activation, layout, clamp) if gated else activate(z, activation)
    y = _product(h, weight_out, bias_out)
    if isinstance(add_residual, Tensor):
        y = y + add_residual
    elif add_residual:
        y = y + r
    extra = ((r,) if return_residual else ()) + ((n,) if return_normed else ())
    y = y.to(x.dtype)
    return (y, *extra) if extra else y


def norm(
    x: Tensor,
    norm: Norm | None,
    *,
    residual: Tensor | None = None,
    bias: Tensor | None = None,
    add_after: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """r = x (+ residual) (+ bias); n = norm(r) (+ add_after) -> n, or (n, r) when residual or bias
    is given.

    An absent weight is 1. LayerNorm: (r - mean) * rstd * weight + bias, rstd = 1 / sqrt(mean((r -
    mean)^2) + eps), in two passes. RMSNorm: r / sqrt(mean(r^2) + eps) * (weight + weight_offset).
    """
    r = _sum(x, residual, bias)
    n = _normalise(r, norm)
    if add_after is not None:
        n = n + add_after
    return n if residual is None and bias is None else (n, r)


def residual_add(
    hidden_state: Tensor,
    residual: Tensor,
    *,
    form: str,
    attention_output: Tensor | None = None,
    attention_bias: Tensor | None = None,
    final_bias: Tensor | None = None,
    mp_size: int = 1,
) -> Tensor:
    """All of shape (*, N), biases (N,). With h, r, a, ba, bf, p in the order of the arguments,
    absent terms 0:

    - form="pre_ln": (r + a + ba + bf) / p + h
    - form="post_ln": r + h + bf
    - form="parallel": h + a + (r + ba + bf) / p
    """
    if mp_size < 1:
        raise ValueError(f"[reference] mp_size: expected at least 1, got {mp_size}")
    if form == "pre_ln":
        total = (
            _sum(residual, attention_output, attention_bias, final_bias) / mp_size + hidden_state
        )
    elif form == "post_ln":
        if attention_output is not None or attention_bias is not None:
            raise ValueError(
                "[reference] form 'post_ln' takes no attention_output and no attention_bias"
            )
        total = _sum(residual, hidden_state, final_bias)
    elif form == "parallel":
        shared = _sum(residual, attention_bias, final_bias) / mp_size
        total = _sum(hidden_state, attention_output) + shared
    else:
        raise ValueError(
            f"[reference] form: expected 'pre_ln', 'post_ln' or 'parallel', got {form!r}"
        )
    return total.to(hidden_state.dtype)


def quantize_weight(
    weight: Tensor,
    *,
    bits: int = 8,
    group: str = "rows",
    groups: int | None = None,
    group_size: int | None = None,
) -> QuantizedWeight:
    """Symmetric int8: scale = amax / 127 over a group, q = round-half-even(w / scale) in [-127,
    127], in float32.

    group="rows": ``groups`` blocks of out / groups consecutive rows, scales (groups,). group="k":
    ``group_size`` consecutive inputs of a row, scales (out, in / group_size). A group of zeros has
    scale 0 and values 0. ValueError where the groups do not divide the weight.
    """
    if bits != 8:
        raise ValueError(f"[reference] bits: expected 8, got {bits}")
    rows, columns = weight.shape
    if group == "rows":
        if groups is None or groups < 1 or rows % groups:
            raise ValueError(f"[reference] groups: expected a divisor of {rows} rows, got {groups}")
        blocks = weight.float().reshape(groups, rows // groups * columns)
    elif group == "k":
        if group_size is None or group_size < 1 or columns % group_size:
            raise ValueError(
                f"[reference] group_size: expected a divisor of {columns}, got {group_size}"
            )
        blocks = weight.float().reshape(rows, columns // group_size, group_size)
    else:
        raise ValueError(f"[reference] group: expected 'rows' or 'k', got {group!r}")
    # Divided by a tensor: by a number, torch multiplies by its reciprocal on a GPU.
    amax = blocks.abs().amax(-1)
    scales = amax / torch.full_like(amax, 127.0)
    divisor = torch.where(scales == 0, torch.inf, scales).unsqueeze(-1)
    values = torch.round(blocks / divisor).clamp(-127, 127).to(torch.int8)
    return QuantizedWeight(values.reshape(rows, columns), scales)


def dequantize(weight: QuantizedWeight, dtype: torch.dtype = torch.float32) -> Tensor:
    """values * scale of the group, (out, in), in ``dtype``."""
    values, scales = weight.values.to(dtype), weight.scales.to(dtype)
    if scales.dim() == 1:
        return values * scales.repeat_interleave(values.shape[0] // scales.shape[0]).unsqueeze(1)
    return values * scales.repeat_interleave(values.shape[1] // scales.shape[1], dim=1)


def _product(x: Tensor, weight: Tensor | QuantizedWeight, bias: Tensor | None) -> Tensor:
    dense = dequantize(weight, x.dtype) if isinstance(weight, QuantizedWeight) else weight
    z = x @ dense.t()
    return z if bias is None else (z + bias).to(x.dtype)


def _gate(z: Tensor, activation: str | None, layout: str, clamp: float | None) -> Tensor:
    if layout not in ("gate_up", "up_gate"):
        raise ValueError(f"[reference] layout: expected 'gate_up' or 'up_gate', got {layout!r}")
    first, second = z.tensor_split(2, dim=-1)
    gate, up = (first, second) if layout == "gate_up" else (second, first)
    if clamp is not None:
        gate, up = gate.clamp(max=clamp), up.clamp(-clamp, clamp)
    return activate(gate, activation) * up


def _sum(first: Tensor, *others: Tensor | None) -> Tensor:
    total = first
    for term in others:
        if term is not None:
            total = total + term
    return total.to(first.dtype)


def _normalise(r: Tensor, norm: Norm | None) -> Tensor:
    if norm is None:
        return r
    weight = 1.0 if norm.weight is None else norm.weight
    if isinstance(norm, LayerNorm):
        centred = r - r.mean(-1, keepdim=True)
        variance = (centred * centred).mean(-1, keepdim=True)
        n = centred * torch.rsqrt(variance + norm.eps) * weight
        return (n if norm.bias is None else n + norm.bias).to(r.dtype)
    rstd = torch.rsqrt((r * r).mean(-1, keepdim=True) + norm.eps)
    return (r * rstd * (weight + norm.weight_offset)).to(r.dtype)


def _converted(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, (LayerNorm, RMSNorm)):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return type(value)(**{name: _converted(field, dtype) for name, field in fields.items()})
    return value
