"""The layers of BERT and its kin: post-norm encoder layers with separate query, key and value."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import ops
from ..nn import _parts
from . import _fused

# The models of transformers whose layers compute exactly what BertLayer computes.
_MODELS = (
    "Bert",
    "BertGeneration",
    "Camembert",
    "Data2VecText",
    "Electra",
    "Ernie",
    "Roberta",
    "RoCBert",
    "XLMRoberta",
)
LAYERS = tuple(f"{model}Layer" for model in _MODELS)

_ORDINARY = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)


def obstacle(layer: Any) -> str | None:
    """Why this layer of a known kind cannot be fused, or None."""
    if layer.is_decoder or layer.add_cross_attention:
        return "a decoder layer: only encoder layers are fused"
    if layer.chunk_size_feed_forward:
        return "chunk_size_feed_forward is set"
    return _fused.plain(layer, *_ORDINARY)


class Core(_fused.AttentionCore):
    """BertSelfAttention on the merged projections."""

    num_attention_heads: int
    attention_head_size: int

    def forward(
        self,
        merged: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """merged (batch, tokens, 3 * hidden) -> context (batch, tokens, hidden), and weights."""
        lead = merged.shape[:-1]
        heads = (3, self.num_attention_heads, self.attention_head_size)
        q, k, v = merged.view(*lead, *heads).permute(2, 0, 3, 1, 4).unbind()
        if past_key_values is not None:
            cache = getattr(past_key_values, "self_attention_cache", past_key_values)
            k, v = cache.update(k, v, self.layer_idx)
        return self.attend(q, k, v, attention_mask, **kwargs)


class _Ops(NamedTuple):
    qkv: Any
    project: Any
    first_norm: Any
    mlp: Any
    second_norm: Any


class Layer(_fused.FusedLayer):
    """h = norm(x + project(attention(x))); y = norm(h + MLP(h))."""

    FUSES = ("query + key + value", "attention output + residual", "MLP + residual")
    CORE = Core

    @classmethod
    def core(cls, layer: Any) -> torch.nn.Module:
        """The layer's self-attention module."""
        core: torch.nn.Module = layer.attention.self
        return core

    def _ops(self, bind: _fused.Binder) -> _Ops:
        layer: Any = self
        attention, output = layer.attention.self, layer.attention.output
        return _Ops(
            bind.qkv(attention.query, attention.key, attention.value),
            bind.linear(output.dense),
            _parts.norm_value(output.LayerNorm),
            bind.mlp(
                layer.intermediate.dense,
                down=layer.output.dense,
                activation=layer.intermediate.intermediate_act_fn,
            ),
            _parts.norm_value(layer.output.LayerNorm),
        )

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> Tensor:
        """hidden_states (batch, tokens, hidden) -> the same; the arguments of the original."""
        run: _Ops = self._start(hidden_states)
        attention: Any = self.attention.self  # type: ignore[union-attr]
        merged = run.qkv(hidden_states)
        context, _ = attention(merged, attention_mask, past_key_values, **kwargs)
        h = run.project(context, hidden_states)
        invariant = self.batch_invariant
        h = ops.norm(h, run.first_norm, out=h, batch_invariant=invariant)
        y = run.mlp(h)
        normed: Tensor = ops.norm(y, run.second_norm, out=y, batch_invariant=invariant)
        return normed
