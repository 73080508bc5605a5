"""nn.QKV: the query, key and value projections as one product, with the norm before them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..torch_library._bound import PREPARE, Maker
from . import _parts
from ._bound import Bound


class QKV(Bound):
    """(q, k, v) = the three parts of norm(x) [Wq; Wk; Wv]^T + [bq; bk; bv].

    State: ``q.*``, ``k.*``, ``v.*`` (weights (heads * head_dim, hidden_size)) and, with a norm,
    ``norm.*``. ``norm`` is None, "layer" or "rms", and then ``eps`` is required. ``num_kv_heads``
    defaults to ``num_heads`` and ``head_dim`` to hidden_size / num_heads. Parameters need no
    gradient.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        head_dim: int | None = None,
        *,
        bias: bool = True,
        norm: str | None = None,
        eps: float | None = None,
        weight_offset: float = 0.0,
        batch_invariant: bool = False,
        weights_static: bool = True,
        allow_tf32: bool = False,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if head_dim is None:
            if hidden_size % num_heads:
                raise ValueError(
                    f"[QKV] num_heads: expected a divisor of hidden_size {hidden_size}, or a "
                    f"head_dim, got {num_heads}"
                )
            head_dim = hidden_size // num_heads
        heads = (num_heads, num_heads if num_kv_heads is None else num_kv_heads)
        q, k, v = (
            torch.nn.Linear(hidden_size, count * head_dim, bias, device, dtype)
            for count in (*heads, heads[1])
        )
        self._set(
            (q, k, v),
            head_dim,
            _parts.new_norm("QKV", norm, hidden_size, eps, dtype=dtype, device=device),
        )
        self.weight_offset = weight_offset
        self._set_op_options(batch_invariant, weights_static, allow_tf32)

    @classmethod
    def from_torch(
        cls,
        q: torch.nn.Module,
        k: torch.nn.Module,
        v: torch.nn.Module,
        norm: torch.nn.Module | None = None,
        *,
        head_dim: int,
        weight_offset: float = 0.0,
        batch_invariant: bool = False,
        weights_static: bool = True,
        allow_tf32: bool = False,
    ) -> QKV:
        """On the storage of three linear layers (torch.nn.Linear or Conv1D) and, optionally, of
        their norm.

        ``weight_offset`` is 1 for the RMSNorm of Gemma. ValueError where a width is no multiple of
        head_dim.
        """
        self = cls.__new__(cls)
        Bound.__init__(self)
        parts = tuple(_parts.shared_linear(*_parts.logical("QKV", module)) for module in (q, k, v))
        self._set(parts, head_dim, _parts.shared_norm("QKV", norm))
        self.weight_offset = weight_offset
        self._set_op_options(batch_invariant, weights_static, allow_tf32)
        return self

    def _set(
        self, parts: tuple[torch.nn.Linear, ...], head_dim: int, norm: torch.nn.Module | None
    ) -> None:
        widths = [len(part.weight) for part in parts]
        if head_dim < 1 or any(width % head_dim for width in widths) or widths[1] != widths[2]:
            raise ValueError(
                f"[QKV] head_dim: expected a divisor of the widths {widths} of q, k and v, of "
                f"which the last two agree, got {head_dim}"
            )
        self.hidden_size = parts[0].weight.shape[1]
        self.head_dim = head_dim
        self.num_heads, self.num_kv_heads = widths[0] // head_dim, widths[1] // head_dim
        self._heads = (self.num_heads, self.num_kv_heads, self.num_kv_heads)
        self._by_head = (sum(self._heads), head_dim)
        self.norm = norm
        self.q, self.k, self.v = (part.requires_grad_(False) for part in parts)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (*, hidden_size) -> q (*, num_heads, head_dim), k and v (*, num_kv_heads, head_dim),
        views of one tensor.

        RuntimeError where autograd would expect a gradient; ValueError where shapes or dtypes
        disagree.
        """
        y = self._ready(x)(x)
        q, k, v = y.unflatten(-1, self._by_head).split_with_sizes(self._heads, -2)
        return q, k, v

    def merged(self, x: Tensor) -> Tensor:
        """x (*, hidden_size) -> (*, all heads * head_dim): q, k and v side by side."""
        y: Tensor = self._ready(x)(x)
        return y

    def _make(self, make: Maker = PREPARE) -> tuple[Any, int]:
        source = _parts.source("QKV", self.q, self.k, self.v)
        norm = _parts.norm_value(self.norm, self.weight_offset)
        return make.qkv(source, norm=norm, **self._op_options())

    def extra_repr(self) -> str:
        heads = f"num_heads={self.num_heads}, num_kv_heads={self.num_kv_heads}"
        return f"{self.hidden_size}, {heads}, head_dim={self.head_dim}"
