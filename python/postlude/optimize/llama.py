"""The layers of Llama: pre-norm decoder layers with RMSNorm, rotary positions and a gated MLP."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import _fused

LAYERS = ("LlamaDecoderLayer",)

_ORDINARY = (
    "input_layernorm",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "post_attention_layernorm",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)


def obstacle(layer: Any) -> str | None:
    """Why this layer of a known kind cannot be fused, or None."""
    return _fused.plain(layer, *_ORDINARY)


class Core(_fused.AttentionCore):
    """LlamaAttention between its projections."""

    head_dim: int

    def forward(
        self,
        merged: Tensor,
        position_embeddings: Any = None,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """merged (batch, tokens, (heads + 2 * kv_heads) * head_dim) -> context, and weights."""
        lead = merged.shape[:-1]
        config: Any = self.config
        kv_heads = config.num_key_value_heads
        by_head = merged.view(*lead, -1, self.head_dim).transpose(1, 2)
        q, k, v = by_head.split((config.num_attention_heads, kv_heads, kv_heads), dim=1)
        rotate: Any = sys.modules[self._original.__module__]
        q, k = rotate.apply_rotary_pos_emb(q, k, *position_embeddings)
        if past_key_values is not None:
            k, v = past_key_values.update(k, v, self.layer_idx)
        return self.attend(q, k, v, attention_mask, **kwargs)


class _Ops(NamedTuple):
    qkv: Any
    project: Any
    mlp: Any


class Layer(_fused.FusedLayer):
    """h = x + project(attention(norm(x))); y = h + MLP(norm(h))."""

    FUSES = (
        "norm + query + key + value",
        "attention output + residual",
        "norm + gated MLP + residual",
    )
    CORE = Core

    @classmethod
    def core(cls, layer: Any) -> torch.nn.Module:
        """The layer's attention module."""
        core: torch.nn.Module = layer.self_attn
        return core

    def _ops(self, bind: _fused.Binder) -> _Ops:
        layer: Any = self
        attention, mlp = layer.self_attn, layer.mlp
        return _Ops(
            bind.qkv(
                attention.q_proj, attention.k_proj, attention.v_proj, norm=layer.input_layernorm
            ),
            bind.linear(attention.o_proj),
            bind.mlp(
                mlp.gate_proj,
                mlp.up_proj,
                down=mlp.down_proj,
                activation=mlp.act_fn,
                norm=layer.post_attention_layernorm,
            ),
        )

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = False,
        position_embeddings: Any = None,
        **kwargs: Any,
    ) -> Tensor:
        """hidden_states (batch, tokens, hidden) -> the same; the arguments of the original."""
        run: _Ops = self._start(hidden_states)
        attention: Any = self.self_attn
        context, _ = attention(
            run.qkv(hidden_states),
            position_embeddings,
            attention_mask,
            past_key_values,
            position_ids=position_ids,
            use_cache=use_cache,
            **kwargs,
        )
        y: Tensor = run.mlp(run.project(context, hidden_states))
        return y
