"""The layers of ViT, of CLIP's two towers and their kin: pre-norm encoder layers."""

from __future__ import annotations

from ._forms import PreNorm
from ._layer import Parts


class Layer(PreNorm):
    """ViTLayer."""

    SUFFIX = "Layer"
    PARTS = Parts(
        attention="attention",
        qkv=("attention.q_proj", "attention.k_proj", "attention.v_proj"),
        project="attention.o_proj",
        mlp=("mlp.fc1",),
        activation="mlp.activation_fn",
        down="mlp.fc2",
        norms=("layernorm_before", "layernorm_after"),
        modules={"attention": "Attention", "mlp": "MLP"},
    )
    ARGUMENTS = ("attention_mask",)


class _Tower(Layer):
    """CLIPEncoderLayer, of the text and of the image."""

    SUFFIX = "EncoderLayer"
    PARTS = Parts(
        attention="self_attn",
        qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        project="self_attn.out_proj",
        mlp=("mlp.fc1",),
        activation="mlp.activation_fn",
        down="mlp.fc2",
        norms=("layer_norm1", "layer_norm2"),
        modules={"self_attn": "Attention", "mlp": "MLP"},
    )


LAYERS = {"ViTLayer": Layer, "CLIPEncoderLayer": _Tower, "SiglipEncoderLayer": _Tower}
