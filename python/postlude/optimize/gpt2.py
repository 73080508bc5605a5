"""The blocks of GPT-2: pre-norm decoder blocks whose weights are stored [in, out]."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import _fused

LAYERS = ("GPT2Block",)

_ORDINARY = ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")


def obstacle(layer: Any) -> str | None:
    """Why this layer of a known kind cannot be fused, or None."""
    if hasattr(layer, "crossattention"):
        return "it has cross-attention"
    if layer.attn.reorder_and_upcast_attn:
        return "reorder_and_upcast_attn is set"
    return _fused.plain(layer, *_ORDINARY)


class Core(_fused.AttentionCore):
    """GPT2Attention between its two projections."""

    num_heads: int
    head_dim: int

    def forward(
        self,
        merged: Tensor,
        past_key_values: Any = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """merged (batch, tokens, 3 * hidden) -> context (batch, tokens, hidden), and weights."""
        lead = merged.shape[:-1]
        q, k, v = (
            merged.view(*lead, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind()
        )
        if past_key_values is not None:
            cache = getattr(past_key_values, "self_attention_cache", past_key_values)
            k, v = cache.update(k, v, self.layer_idx)
        return self.attend(q, k, v, attention_mask, **kwargs)


class _Ops(NamedTuple):
    qkv: Any
    project: Any
    mlp: Any


class Layer(_fused.FusedLayer):
    """h = x + project(attention(norm(x))); y = h + MLP(norm(h))."""

    FUSES = ("norm + query + key + value", "attention output + residual", "norm + MLP + residual")
    CORE = Core

    @classmethod
    def core(cls, layer: Any) -> torch.nn.Module:
        """The block's attention module."""
        core: torch.nn.Module = layer.attn
        return core

    def _ops(self, bind: _fused.Binder) -> _Ops:
        layer: Any = self
        return _Ops(
            bind.qkv(layer.attn.c_attn, norm=layer.ln_1),
            bind.linear(layer.attn.c_proj),
            bind.mlp(
                layer.mlp.c_fc, down=layer.mlp.c_proj, activation=layer.mlp.act, norm=layer.ln_2
            ),
        )

    def forward(
        self,
        hidden_states: Tensor,
        past_key_values: Any = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        use_cache: bool | None = False,
        **kwargs: Any,
    ) -> Tensor:
        """hidden_states (batch, tokens, hidden) -> the same; the arguments of the original."""
        if encoder_hidden_states is not None:
            raise ValueError("[GPT2Block] encoder_hidden_states: this block has no cross-attention")
        run: _Ops = self._start(hidden_states)
        attention: Any = self.attn
        merged = run.qkv(hidden_states)
        context, _ = attention(
            merged, past_key_values, attention_mask, use_cache=use_cache, **kwargs
        )
        y: Tensor = run.mlp(run.project(context, hidden_states))
        return y
