"""The layers of Falcon: attention and MLP side by side behind one norm or two, or in turn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ._forms import Parallel, PreNorm
from ._layer import FusedLayer, Parts


class Layer(Parallel):
    """FalconDecoderLayer with one norm: multi-query attention, as in the 7B model."""

    SUFFIX = "DecoderLayer"
    PARTS = Parts(
        attention="self_attention",
        qkv=("self_attention.query_key_value",),
        project="self_attention.dense",
        mlp=("mlp.dense_h_to_4h",),
        activation="mlp.act",
        down="mlp.dense_4h_to_h",
        norms=("input_layernorm",),
        modules={"self_attention": "Attention", "mlp": "MLP"},
    )
    ARGUMENTS = (
        "alibi",
        "attention_mask",
        "position_ids",
        "layer_past",
        "use_cache",
        "output_attentions",
        "position_embeddings",
    )
    RETURNS_WEIGHTS = True

    @classmethod
    def choose(cls, layer: Any) -> type[FusedLayer]:
        if layer.config.new_decoder_architecture:
            return _TwoNorms if layer.config.num_ln_in_parallel_attn == 2 else cls
        return cls if layer.config.parallel_attn else _InTurn


class _TwoNorms(Layer):
    """The new decoder architecture, as in the 40B model."""

    PARTS = replace(Layer.PARTS, norms=("ln_attn", "ln_mlp"))


class _InTurn(PreNorm, Layer):
    """The same with parallel_attn=False, as in Falcon-RW."""

    PARTS = replace(Layer.PARTS, norms=("input_layernorm", "post_attention_layernorm"))


LAYERS = {"FalconDecoderLayer": Layer}
