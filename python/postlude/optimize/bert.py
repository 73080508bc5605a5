"""The layers of BERT and its kin: post-norm encoder layers with separate query, key and value."""

from __future__ import annotations

from typing import Any

from ._forms import PostNorm
from ._layer import Parts


class Layer(PostNorm):
    """BertLayer without the parts of a decoder."""

    SUFFIX = "Layer"
    PARTS = Parts(
        attention="attention.self",
        qkv=("attention.self.query", "attention.self.key", "attention.self.value"),
        project="attention.output.dense",
        mlp=("intermediate.dense",),
        activation="intermediate.intermediate_act_fn",
        down="output.dense",
        norms=("attention.output.LayerNorm", "output.LayerNorm"),
        modules={
            "attention": "Attention",
            "attention.self": "SelfAttention",
            "attention.output": "SelfOutput",
            "intermediate": "Intermediate",
            "output": "Output",
        },
    )
    ARGUMENTS = (
        "attention_mask",
        "encoder_hidden_states",
        "encoder_attention_mask",
        "past_key_values",
    )
    UNUSED = ("encoder_hidden_states", "encoder_attention_mask")

    @classmethod
    def refusal(cls, layer: Any) -> str | None:
        if layer.is_decoder or layer.add_cross_attention:
            return "a decoder layer: only encoder layers are fused"
        if layer.chunk_size_feed_forward:
            return "chunk_size_feed_forward is set"
        return None


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
LAYERS = dict.fromkeys((f"{model}Layer" for model in _MODELS), Layer)
