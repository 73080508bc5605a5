"""nn.MLP: the feed-forward block of a transformer, with its norm and its residual."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import ops
from ..torch_library._bound import PREPARE, Maker
from . import _parts
from ._bound import Bound

_NAMES = {False: ("fc1", "fc2"), True: ("gate", "up", "down")}


class MLP(Bound):
    """With r = x (+ residual) (+ input_bias) and F(n) = act(n W1^T + b1) W2^T + b2, or gated
    F(n) = (act(n Wg^T + bg) * (n Wu^T + bu)) Wd^T + bd:

    - no norm: y = r + F(r)
    - norm_position="pre": y = r + F(norm(r))
    - norm_position="post": y = norm(r + F(r))

    and the same without ``r +`` where add_residual is False. State: ``fc1.*`` and ``fc2.*``, or
    ``gate.*``, ``up.*`` and ``down.*`` when gated, and ``norm.*``. ``norm`` is None, "layer" or
    "rms", and then ``eps`` is required. Parameters need no gradient.
    """

    def __init__(
        self,
        hidden_size: int,
        intermediate_size: int,
        *,
        activation: str | None,
        gated: bool = False,
        bias: bool = True,
        norm: str | None = None,
        eps: float | None = None,
        weight_offset: float = 0.0,
        norm_position: str = "pre",
        add_residual: bool = True,
        batch_invariant: bool = False,
        weights_static: bool = True,
        allow_tf32: bool = False,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        inputs = [
            torch.nn.Linear(hidden_size, intermediate_size, bias, device, dtype)
            for _ in range(2 if gated else 1)
        ]
        down = torch.nn.Linear(intermediate_size, hidden_size, bias, device, dtype)
        self._set(
            inputs, down, _parts.new_norm("MLP", norm, hidden_size, eps, dtype=dtype, device=device)
        )
        self._set_form(activation, weight_offset, norm_position, add_residual)
        self._set_op_options(batch_invariant, weights_static, allow_tf32)

    @classmethod
    def from_torch(
        cls,
        up: torch.nn.Module,
        down: torch.nn.Module,
        *,
        gate: torch.nn.Module | None = None,
        activation: str | None,
        norm: torch.nn.Module | None = None,
        weight_offset: float = 0.0,
        norm_position: str = "pre",
        add_residual: bool = True,
        batch_invariant: bool = False,
        weights_static: bool = True,
        allow_tf32: bool = False,
    ) -> MLP:
        """On the storage of a model's own: fc1 and fc2 as ``up`` and ``down``, or all three."""
        self = cls.__new__(cls)
        Bound.__init__(self)
        sources = [up] if gate is None else [gate, up]
        inputs = [_parts.shared_linear(*_parts.logical("MLP", module)) for module in sources]
        self._set(
            inputs,
            _parts.shared_linear(*_parts.logical("MLP", down)),
            _parts.shared_norm("MLP", norm),
        )
        self._set_form(activation, weight_offset, norm_position, add_residual)
        self._set_op_options(batch_invariant, weights_static, allow_tf32)
        return self

    def _set(
        self, inputs: list[torch.nn.Linear], down: torch.nn.Linear, norm: torch.nn.Module | None
    ) -> None:
        self.intermediate_size, self.hidden_size = inputs[0].weight.shape
        self.gated = len(inputs) == 2
        self.norm = norm
        for name, module in zip(_NAMES[self.gated], (*inputs, down), strict=True):
            self.add_module(name, module.requires_grad_(False))

    def _set_form(
        self, activation: str | None, weight_offset: float, norm_position: str, add_residual: bool
    ) -> None:
        if norm_position not in ("pre", "post"):
            raise ValueError(
                f"[MLP] norm_position: expected 'pre' or 'post', got {norm_position!r}"
            )
        self.activation = activation
        self.weight_offset = weight_offset
        self.norm_position = norm_position
        self.add_residual = add_residual

    def forward(
        self, x: Tensor, residual: Tensor | None = None, input_bias: Tensor | None = None
    ) -> Tensor:
        """x and residual (*, hidden_size), input_bias (hidden_size,) -> (*, hidden_size).

        RuntimeError where autograd would expect a gradient; ValueError where shapes or dtypes
        disagree.
        """
        y: Tensor = self._ready(x)(x, residual, input_bias)
        return y

    def _make(self, make: Maker = PREPARE) -> tuple[Any, int]:
        *first, last = (self.get_submodule(name) for name in _NAMES[self.gated])
        norm = _parts.norm_value(self.norm, self.weight_offset)
        post = self.norm_position == "post" and norm is not None
        op, packed_bytes = make.mlp(
            _parts.source("MLP", *first),
            _parts.source("MLP", last),
            norm=None if post else norm,
            activation=self.activation,
            gated=self.gated,
            add_residual=self.add_residual,
            **self._op_options(),
        )
        return (_ThenNorm(op, norm, self.batch_invariant) if post else op), packed_bytes

    def extra_repr(self) -> str:
        text = f"{self.hidden_size}, {self.intermediate_size}, activation={self.activation!r}"
        norm = "" if self.norm is None else f", norm_position={self.norm_position!r}"
        return f"{text}, gated={self.gated}{norm}, add_residual={self.add_residual}"


class _ThenNorm:
    """norm(op(...)), written over the op's result."""

    def __init__(self, op: Any, norm: Any, batch_invariant: bool) -> None:
        self.op, self.norm, self.batch_invariant = op, norm, batch_invariant

    def __call__(self, *inputs: Tensor | None) -> Tensor:
        y = self.op(*inputs)
        normed: Tensor = ops.norm(y, self.norm, out=y, batch_invariant=self.batch_invariant)
        return normed
