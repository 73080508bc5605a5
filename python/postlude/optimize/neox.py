"""The layers of GPT-NeoX: attention and MLP side by side, each behind its norm, or in turn."""

from __future__ import annotations

from typing import Any

from ._forms import Parallel, PreNorm
from ._layer import FusedLayer, Parts


class Layer(Parallel):
    """GPTNeoXLayer."""

    SUFFIX = "Layer"
    PARTS = Parts(
        attention="attention",
        qkv=("attention.query_key_value",),
        project="attention.dense",
        mlp=("mlp.dense_h_to_4h",),
        activation="mlp.act",
        down="mlp.dense_4h_to_h",
        norms=("input_layernorm", "post_attention_layernorm"),
        modules={"attention": "Attention", "mlp": "MLP"},
    )
    ARGUMENTS = (
        "attention_mask",
        "position_ids",
        "use_cache",
        "layer_past",
        "position_embeddings",
    )

    @classmethod
    def choose(cls, layer: Any) -> type[FusedLayer]:
        return cls if layer.use_parallel_residual else _InTurn


class _InTurn(PreNorm, Layer):
    """The same with use_parallel_residual=False."""


LAYERS = {"GPTNeoXLayer": Layer}
