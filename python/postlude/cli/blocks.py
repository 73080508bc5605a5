"""The MLP and QKV blocks that ``postlude bench`` measures: in torch, by ``ops`` and by ``nn``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import LayerNorm, RMSNorm, nn, ops, reference
from .models import Shape

Call = Callable[[Tensor], Tensor]

_TORCH: dict[str, Call] = {
    **reference.ACTIVATIONS,
    "gelu_erf": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
}


def _norm(layer: Any, shape: Shape) -> tuple[Call, LayerNorm | RMSNorm]:
    weight, size = layer.norm.weight.detach(), (shape.hidden,)
    if shape.norm == "rms":
        return lambda x: F.rms_norm(x, size, weight, shape.eps), RMSNorm(weight, shape.eps)
    bias = layer.norm.bias.detach()
    own = LayerNorm(weight, bias, shape.eps)
    return lambda x: F.layer_norm(x, size, weight, bias, shape.eps), own


def _merged(parts: list[Any]) -> tuple[Tensor, Tensor | None]:
    """The weights of several linear layers one below the other, and their biases."""
    weight = torch.cat([part.weight.detach() for part in parts])
    if parts[0].bias is None:
        return weight, None
    return weight, torch.cat([part.bias.detach() for part in parts])


def _qkv(shape: Shape, options: dict[str, Any]) -> dict[str, Call]:
    layer = nn.QKV(shape.hidden, shape.heads, shape.kv_heads, shape.head_dim, **options)
    weight, bias = _merged([layer.q, layer.k, layer.v])
    normed, norm = _norm(layer, shape)
    return {
        "torch": lambda x: F.linear(normed(x), weight, bias),
        "plain": lambda x: ops.qkv(x, weight, bias, norm=norm),
        "bound": layer.merged,
    }


def _mlp(shape: Shape, options: dict[str, Any]) -> dict[str, Call]:
    kind: dict[str, Any] = {"activation": shape.activation, "gated": shape.gated}
    layer = nn.MLP(shape.hidden, shape.intermediate, **kind, **options)
    parts = [layer.gate, layer.up] if shape.gated else [layer.fc1]
    firsts = [_merged([part]) for part in parts]
    last = _merged([layer.down if shape.gated else layer.fc2])
    weight_in, bias_in = _merged(parts)
    normed, norm = _norm(layer, shape)
    act = _TORCH[shape.activation]

    def by_torch(x: Tensor) -> Tensor:
        n = normed(x)
        h = act(F.linear(n, *firsts[0]))
        if shape.gated:
            h = h * F.linear(n, *firsts[1])
        return x + F.linear(h, *last)

    def plain(x: Tensor) -> Tensor:
        y: Tensor = ops.mlp(x, weight_in, last[0], bias_in, last[1], norm=norm, **kind)
        return y

    return {"torch": by_torch, "plain": plain, "bound": layer}


def new_block(name: str, shape: Shape, dtype: torch.dtype, device: str) -> dict[str, Call]:
    """A block with random weights as each contender computes it: x (M, hidden) -> (M, N)."""
    options = {"bias": shape.bias, "norm": shape.norm, "eps": shape.eps}
    make = _mlp if name == "mlp" else _qkv
    return make(shape, {**options, "dtype": dtype, "device": device})


def weight_bytes(name: str, shape: Shape, dtype: torch.dtype) -> int:
    """Bytes of the block's matrices."""
    count = shape.hidden * shape.qkv_features
    if name == "mlp":
        count = (3 if shape.gated else 2) * shape.hidden * shape.intermediate
    return count * dtype.itemsize
