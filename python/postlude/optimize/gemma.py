"""The layers of Gemma: norms that add 1 to their weight, since Gemma 2 after each part as well."""

from __future__ import annotations

from dataclasses import replace

from . import llama
from ._forms import PrePostNorm


class Layer(llama.Layer):
    """GemmaDecoderLayer."""

    OFFSET = 1.0


class _Sandwich(PrePostNorm, Layer):
    """Gemma2DecoderLayer."""

    PARTS = replace(
        llama.PARTS,
        norms=(
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        ),
    )
    ARGUMENTS = ("position_embeddings", "attention_mask", "position_ids", "past_key_values")


class _HeadNorms(_Sandwich):
    """Gemma3DecoderLayer: norms of q and k over each head, before the rotation."""

    PARTS = replace(_Sandwich.PARTS, kept=llama.HEAD_NORMS)


LAYERS = {
    "GemmaDecoderLayer": Layer,
    "Gemma2DecoderLayer": _Sandwich,
    "Gemma3DecoderLayer": _HeadNorms,
}
