"""The layers of Mixtral: Llama's attention, and a mixture of experts that stays as it is."""

from __future__ import annotations

from dataclasses import replace

from . import llama
from ._forms import AttentionOnly


class Layer(AttentionOnly, llama.Layer):
    """MixtralDecoderLayer."""

    PARTS = replace(
        llama.ATTENTION,
        modules={"self_attn": "Attention", "mlp": "SparseMoeBlock"},
        kept={"mlp": "a mixture of experts, which runs as it is"},
    )
    ARGUMENTS = ("position_embeddings", "attention_mask", "position_ids", "past_key_values")


LAYERS = {"MixtralDecoderLayer": Layer}
