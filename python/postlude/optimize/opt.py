"""The layers of OPT: pre-norm, or post-norm as in its 350M model."""

from __future__ import annotations

from typing import Any

from ._forms import PostNorm, PreNorm
from ._layer import FusedLayer, Parts


class Layer(PreNorm):
    """OPTDecoderLayer."""

    SUFFIX = "DecoderLayer"
    PARTS = Parts(
        attention="self_attn",
        qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        project="self_attn.out_proj",
        mlp=("fc1",),
        activation="activation_fn",
        down="fc2",
        norms=("self_attn_layer_norm", "final_layer_norm"),
        modules={"self_attn": "Attention"},
    )
    ARGUMENTS = ("attention_mask", "past_key_values", "use_cache", "position_ids")
    UNUSED = ("use_cache",)

    @classmethod
    def choose(cls, layer: Any) -> type[FusedLayer]:
        return cls if layer.do_layer_norm_before else _PostNorm


class _PostNorm(PostNorm, Layer):
    """The same with do_layer_norm_before=False."""


LAYERS = {"OPTDecoderLayer": Layer}
