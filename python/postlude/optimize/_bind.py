"""The bound ops of a fused layer, made from the modules of the original one."""

from __future__ import annotations

from typing import Any

import torch

from .. import ops
from ..nn import _parts
from ..torch_library._bound import Maker

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

    def __init__(self, make: Maker, offset: float, options: dict[str, Any]) -> None:
        self.make = make
        self.offset = offset  # what an RMSNorm adds to its weight
        self.options = options  # of every op
        self.packed_bytes = 0

    def norm(self, module: torch.nn.Module | None) -> Any:
        """The norm as ops take it."""
        return _parts.norm_value(module, self.offset)

    def linear(self, module: torch.nn.Module) -> ops.Linear:
        """x W^T + bias (+ residual)."""
        return self._count(self.make.linear(_parts.source("optimize", module), **self.options))

    def qkv(self, *modules: torch.nn.Module, norm: torch.nn.Module | None = None) -> ops.Qkv:
        """The projections of ``modules``, one or several side by side, of norm(x)."""
        source = _parts.source("optimize", *modules)
        return self._count(self.make.qkv(source, norm=self.norm(norm), **self.options))

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
        made = self.make.mlp(
            _parts.source("optimize", *inputs),
            _parts.source("optimize", down),
            activation=activation_name(activation),
            gated=gated,
            norm=self.norm(norm),
            add_residual=add_residual,
            **self.options,
        )
        return self._count(made)

    def _count(self, made: tuple[Any, int]) -> Any:
        op, packed_bytes = made
        self.packed_bytes += packed_bytes
        return op
