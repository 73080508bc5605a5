"""nn.Linear: a linear layer with bias, activation, gate and residual inside the product."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..torch_library._bound import PREPARE, Maker, Source
from . import _parts
from ._bound import Bound


class Linear(Bound):
    """y = act(x W^T + bias) (+ residual); gated: y = act(x Wg^T + bg) * (x Wu^T + bu) (+ residual).

    State: ``weight`` (out_features, in_features) and ``bias`` (out_features,); gated: ``gate.*``
    and ``up.*``, each of these shapes. ``activation`` is a name of ``postlude.ops`` or None.
    Parameters need no gradient.
    """

    weight: torch.nn.Parameter
    bias: torch.nn.Parameter | None
    gate: torch.nn.Linear
    up: torch.nn.Linear

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        activation: str | None = None,
        gated: bool = False,
        bias: bool = True,
        batch_invariant: bool = False,
        weights_static: bool = True,
        allow_tf32: bool = False,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        new = [
            torch.nn.Linear(in_features, out_features, bias, device, dtype)
            for _ in range(2 if gated else 1)
        ]
        self._set(new, activation)
        self._set_op_options(batch_invariant, weights_static, allow_tf32)

    @classmethod
    def from_torch(
        cls,
        linear: torch.nn.Module,
        *,
        gate: torch.nn.Module | None = None,
        activation: str | None = None,
        batch_invariant: bool = False,
        weights_static: bool = True,
        allow_tf32: bool = False,
    ) -> Linear:
        """On the storage of a torch.nn.Linear or a Conv1D; with ``gate``, ``linear`` is up."""
        self = cls.__new__(cls)
        Bound.__init__(self)
        sources = [linear] if gate is None else [gate, linear]
        self._set([_parts.shared_linear(*_parts.logical("Linear", m)) for m in sources], activation)
        self._set_op_options(batch_invariant, weights_static, allow_tf32)
        return self

    def _set(self, linears: list[torch.nn.Linear], activation: str | None) -> None:
        self.out_features, self.in_features = linears[0].weight.shape
        self.activation = activation
        self.gated = len(linears) == 2
        if self.gated:
            self.gate, self.up = (linear.requires_grad_(False) for linear in linears)
        else:
            weight, bias = linears[0].weight, linears[0].bias
            self.weight = _parts.frozen(weight)
            self.register_parameter("bias", None if bias is None else _parts.frozen(bias))

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """x (*, in_features), residual (*, out_features) -> (*, out_features).

        RuntimeError where autograd would expect a gradient; ValueError where shapes or dtypes
        disagree.
        """
        y: Tensor = self._ready(x)(x, residual)
        return y

    def _make(self, make: Maker = PREPARE) -> tuple[Any, int]:
        if self.gated:
            source = _parts.source("Linear", self.gate, self.up)
        else:
            source = Source([self.weight], [self.bias])
        return make.linear(
            source, activation=self.activation, gated=self.gated, **self._op_options()
        )

    def extra_repr(self) -> str:
        sizes = f"{self.in_features}, {self.out_features}"
        return f"{sizes}, activation={self.activation!r}, gated={self.gated}"
