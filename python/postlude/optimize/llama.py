"""The layers of Llama and its kin: pre-norm, RMSNorm, rotary positions and a gated MLP."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from ._forms import PreNorm
from ._layer import Parts

ATTENTION = Parts(
    attention="self_attn",
    qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    project="self_attn.o_proj",
    norms=("input_layernorm", "post_attention_layernorm"),
)
PARTS = replace(
    ATTENTION,
    mlp=("mlp.gate_proj", "mlp.up_proj"),
    gated=True,
    activation="mlp.act_fn",
    down="mlp.down_proj",
    modules={"self_attn": "Attention", "mlp": "MLP"},
)
HEAD_NORMS = dict.fromkeys(
    ("self_attn.q_norm", "self_attn.k_norm"), "a norm of each head, which runs as it is"
)


class Layer(PreNorm):
    """LlamaDecoderLayer."""

    SUFFIX = "DecoderLayer"
    PARTS = PARTS
    NORM = "RMSNorm"
    ARGUMENTS: ClassVar[tuple[str, ...]] = (
        "attention_mask",
        "position_ids",
        "past_key_values",
        "use_cache",
        "position_embeddings",
    )


class _HeadNorms(Layer):
    """Qwen3DecoderLayer: norms of q and k over each head, before the rotation."""

    PARTS = replace(PARTS, kept=HEAD_NORMS)


class _Merged(Layer):
    """Phi3DecoderLayer: one projection for q, k and v, and one for gate and up."""

    PARTS = replace(
        PARTS,
        qkv=("self_attn.qkv_proj",),
        mlp=("mlp.gate_up_proj",),
        activation="mlp.activation_fn",
    )


LAYERS = {
    "LlamaDecoderLayer": Layer,
    "MistralDecoderLayer": Layer,
    "Qwen2DecoderLayer": Layer,
    "Qwen3DecoderLayer": _HeadNorms,
    "Phi3DecoderLayer": _Merged,
}
