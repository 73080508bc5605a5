"""The parts of T5's blocks: self-attention, cross-attention and feed-forward, each with its norm.

The blocks themselves run as they are: they pass the biases of positions on, and keep float16 within
its range.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from ._bind import Binder
from ._check import several_dtypes
from ._layer import FusedLayer, Parts


class _Run(NamedTuple):
    qkv: Any
    kv: Any
    project: Any


class SelfAttention(FusedLayer):
    """T5LayerSelfAttention: y = x + project(attention(norm(x))), with the biases and weights."""

    SUFFIX = "LayerSelfAttention"
    PARTS = Parts(
        attention="SelfAttention",
        qkv=("SelfAttention.q", "SelfAttention.k", "SelfAttention.v"),
        project="SelfAttention.o",
        norms=("layer_norm",),
        modules={"SelfAttention": "Attention"},
        kept={"SelfAttention.relative_attention_bias": "the biases of positions, as before"},
    )
    ARGUMENTS: ClassVar[tuple[str, ...]] = ("attention_mask", "position_bias", "past_key_values")
    FUSES: ClassVar[tuple[str, ...]] = ("norm + query + key + value", "attention output + residual")
    RETURNS_WEIGHTS = True

    def _ops(self, bind: Binder) -> _Run:
        part = self.get_submodule
        first, *rest = (list(map(part, paths)) for paths in self.products()[:-1])
        return _Run(
            bind.qkv(*first, norm=part(self.PARTS.norms[0])),
            bind.qkv(*rest[0]) if rest else None,
            bind.linear(part(self.PARTS.project)),
        )

    def _passed(self, run: _Run, given: dict[str, Any]) -> dict[str, Any]:
        return {"mask": given.pop("attention_mask"), **given}

    def _finish(self, run: _Run, context: Tensor, x: Tensor) -> Tensor:
        y: Tensor = run.project(context, x)
        return y


class CrossAttention(SelfAttention):
    """T5LayerCrossAttention: the same with the keys and values of key_value_states."""

    SUFFIX = "LayerCrossAttention"
    PARTS = Parts(
        attention="EncDecAttention",
        qkv=("EncDecAttention.q", "EncDecAttention.k", "EncDecAttention.v"),
        project="EncDecAttention.o",
        norms=("layer_norm",),
        modules={"EncDecAttention": "Attention"},
    )
    ARGUMENTS = ("key_value_states", *SelfAttention.ARGUMENTS)
    FUSES = ("norm + query", "key + value", "attention output + residual")

    @classmethod
    def products(cls) -> tuple[tuple[str, ...], ...]:
        q, k, v = cls.PARTS.qkv
        return (q,), (k, v), (cls.PARTS.project,)

    def _passed(self, run: _Run, given: dict[str, Any]) -> dict[str, Any]:
        attention: Any = self.EncDecAttention
        # Whether the cache holds the keys and values already: then the attention reads no others.
        known = getattr(given["past_key_values"], "is_updated", {}).get(attention.layer_idx)
        if not known:
            given["key_value_states"] = run.kv(given["key_value_states"])
        return super()._passed(run, given)


class FeedForward(FusedLayer):
    """T5LayerFF: y = x + MLP(norm(x))."""

    SUFFIX = "LayerFF"
    PARTS = Parts(
        mlp=("DenseReluDense.wi",),
        activation="DenseReluDense.act",
        down="DenseReluDense.wo",
        norms=("layer_norm",),
        modules={"DenseReluDense": "DenseActDense"},
    )
    ARGUMENTS = ()
    FUSES = ("norm + {mlp} + residual",)

    @classmethod
    def choose(cls, layer: Any) -> type[FusedLayer]:
        return _Gated if hasattr(layer.DenseReluDense, "wi_0") else cls

    def _ops(self, bind: Binder) -> Any:
        part, parts = self.get_submodule, self.PARTS
        return bind.mlp(
            *map(part, parts.mlp),
            down=part(parts.down),
            activation=part(parts.activation),
            norm=part(parts.norms[0]),
            gated=parts.gated,
        )

    def forward(self, hidden_states: Tensor) -> Tensor:
        """hidden_states (batch, tokens, hidden) -> the same."""
        y: Tensor = self._start(hidden_states)(hidden_states)
        return y


class _Gated(FeedForward):
    """The same in T5 1.1 and Flan-T5."""

    PARTS = replace(
        FeedForward.PARTS,
        mlp=("DenseReluDense.wi_0", "DenseReluDense.wi_1"),
        gated=True,
        modules={"DenseReluDense": "DenseGatedActDense"},
    )


_MODELS = ("T5", "MT5")
LAYERS = {
    f"{model}{kind.SUFFIX}": kind
    for model in _MODELS
    for kind in (SelfAttention, CrossAttention, FeedForward)
}
BLOCKS = tuple(f"{model}Block" for model in _MODELS)


def obstacle(block: torch.nn.Module) -> str | None:
    """Why no part of a block can be fused, or None.

    transformers keeps ``wo`` in float32 beside float16: then what the block hands on is float32.
    """
    every = block.named_modules()
    return several_dtypes({path: each for path, each in every if isinstance(each, torch.nn.Linear)})
