"""The layers of Llama and its kin: pre-norm, RMSNorm, rotary positions and a gated MLP."""

from __future__ import annotations

import operator
import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import _fused


@dataclass(frozen=True)
class _Structure:
    """Where a decoder layer keeps its parts: paths of submodules, from the layer on."""

    qkv: tuple[str, ...] = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    project: str = "self_attn.o_proj"
    gate_up: tuple[str, ...] = ("mlp.gate_proj", "mlp.up_proj")
    activation: str = "mlp.act_fn"
    down: str = "mlp.down_proj"
    first_norm: str = "input_layernorm"
    second_norm: str = "post_attention_layernorm"
    head_norms: tuple[str, ...] = ()  # of q and k, over each head, before the rotation
    window: str | None = None  # the attention's attribute that holds its sliding window, if any

    @property
    def fused(self) -> tuple[str, ...]:
        """The submodules whose parameters the fused operations read."""
        norms = (self.first_norm, self.second_norm)
        return (*self.qkv, self.project, *self.gate_up, self.down, *norms)


# The models of transformers whose decoder layers compute exactly what ``Layer`` computes.
_STRUCTURES = {
    "Llama": _Structure(),
    "Mistral": _Structure(window="config.sliding_window"),
    "Qwen2": _Structure(window="sliding_window"),
    "Qwen3": _Structure(
        head_norms=("self_attn.q_norm", "self_attn.k_norm"), window="sliding_window"
    ),
    "Phi3": _Structure(
        qkv=("self_attn.qkv_proj",),
        gate_up=("mlp.gate_up_proj",),
        activation="mlp.activation_fn",
        window="config.sliding_window",
    ),
}
LAYERS = tuple(f"{model}DecoderLayer" for model in _STRUCTURES)


def _model(kind: type) -> str:
    """The model that the class of a layer, or of its attention, belongs to."""
    kind = getattr(kind, "_original", kind)
    return kind.__name__.removesuffix("DecoderLayer").removesuffix("Attention")


def obstacle(layer: Any) -> str | None:
    """Why this layer of a known kind cannot be fused, or None."""
    model = _model(type(layer))
    structure = _STRUCTURES[model]
    for path in ("self_attn", "mlp"):
        kind = type(getattr(layer, path)).__name__
        if kind != f"{model}{'Attention' if path == 'self_attn' else 'MLP'}":
            return f"{path} is a {kind}"
    known = (*structure.fused, *structure.head_norms)
    present = dict(layer.named_modules())
    for path in (*known, structure.activation):
        if path not in present:
            return f"it has no {path}"
    for path, module in present.items():
        if path not in known and next(module.parameters(recurse=False), None) is not None:
            return f"{path or 'the layer'} has parameters that are not known"
    return _fused.plain(layer, *structure.fused, norm=f"{model}RMSNorm")


class Core(_fused.AttentionCore):
    """The attention between its projections; the norms of the heads run as they are."""

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
        structure = _STRUCTURES[_model(self._original)]
        config: Any = self.config
        heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
        by_head = merged.view(*merged.shape[:-1], heads + 2 * kv_heads, self.head_dim)
        q, k, v = by_head.split((heads, kv_heads, kv_heads), dim=-2)
        if structure.head_norms:
            norms: Any = self
            q, k = norms.q_norm(q), norms.k_norm(k)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        rotate: Any = sys.modules[self._original.__module__]
        q, k = rotate.apply_rotary_pos_emb(q, k, *position_embeddings)
        if past_key_values is not None:
            k, v = past_key_values.update(k, v, self.layer_idx)
        if structure.window is not None:
            kwargs["sliding_window"] = operator.attrgetter(structure.window)(self)
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

    @classmethod
    def kept(cls, layer: Any) -> dict[str, str]:
        """The norms of the heads."""
        reason = "a norm of each head, which runs as it is"
        return dict.fromkeys(_STRUCTURES[_model(type(layer))].head_norms, reason)

    def _ops(self, bind: _fused.Binder) -> _Ops:
        structure = _STRUCTURES[_model(type(self))]
        part = self.get_submodule
        return _Ops(
            bind.qkv(*map(part, structure.qkv), norm=part(structure.first_norm)),
            bind.linear(part(structure.project)),
            bind.mlp(
                *map(part, structure.gate_up),
                gated=True,
                down=part(structure.down),
                activation=part(structure.activation),
                norm=part(structure.second_norm),
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
