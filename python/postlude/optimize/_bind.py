"""The bound ops of a fused layer, made from the modules of the original one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import ops
from ..nn import _parts

# The exact classes of transformers (and torch.nn) that compute each activation.
_ACTIVATIONS = {
    "BloomGelu": "gelu_tanh",
    "GELUActivation": "gelu_erf",
    "NewGELUActivation": "gelu_tanh",
    "FastGELUActivation": "gelu_tanh",
    "GELUTanh": "gelu_tanh",
    "QuickGELUActivation": "quick_gelu",
    "ReLUSquaredActivation": "relu2",
    "SiLUActivation": "silu",
    "SiLU": "silu",
    "ReLU": "relu",
}


def activation_name(act: Any) -> str:
    """The name of an activation module in ``postlude.ops``; ValueError for one that has none."""
    if type(act) is torch.nn.GELU:
        return "gelu_tanh" if act.approximate == "tanh" else "gelu_erf"
    if type(act).__name__ not in _ACTIVATIONS:
        raise ValueError(f"unknown activation {act}")
    return _ACTIVATIONS[type(act).__name__]


class Binder:
    """Makes the bound ops of a layer from its modules, and counts the bytes that they hold."""

    def __init__(self, quantize: str | None, offset: float, options: dict[str, Any]) -> None:
        self.quantize = quantize
        self.offset = offset  # what an RMSNorm adds to its weight
        self.options = options  # of every op
        self.packed_bytes = 0

    def norm(self, module: torch.nn.Module | None) -> Any:
        """The norm as ops take it."""
        return _parts.norm_value(module, self.offset)

    def linear(self, module: torch.nn.Module) -> ops.Linear:
        """x W^T + bias (+ residual)."""
        weight, bias = self._weight(module)
        return self._count(ops.Linear(weight, bias, **self.options))

    def qkv(self, *modules: torch.nn.Module, norm: torch.nn.Module | None = None) -> ops.Qkv:
        """The projections of ``modules``, one or several side by side, of norm(x)."""
        weight, bias = self._weight(*modules)
        return self._count(ops.Qkv(weight, bias, norm=self.norm(norm), **self.options))

    def mlp(
        self,
        *inputs: torch.nn.Module,
        down: torch.nn.Module,
        activation: torch.nn.Module,
        norm: torch.nn.Module | None = None,
        gated: bool = False,
        add_residual: bool = True,
    ) -> ops.Mlp:
        """x + down(act(inputs(norm(x)))); gated inputs are gate and up, in one module or two."""
        weight_in, bias_in = self._weight(*inputs)
        weight_out, bias_out = self._weight(down)
        op = ops.Mlp(
            weight_in,
            weight_out,
            bias_in,
            bias_out,
            activation=activation_name(activation),
            gated=gated,
            norm=self.norm(norm),
            add_residual=add_residual,
            **self.options,
        )
        return self._count(op)

    def _weight(self, *modules: torch.nn.Module) -> tuple[Any, Tensor | None]:
        weight, bias = _parts.merge(modules)
        if self.quantize is None:
            return weight, bias
        quantized = ops.quantize_weight(weight, group="rows", groups=len(weight))
        self.packed_bytes += quantized.bytes
        return quantized, bias

    def _count(self, op: Any) -> Any:
        self.packed_bytes += op.packed_bytes
        return op
