"""The blocks of GPT-2: pre-norm decoder blocks whose weights are stored [in, out]."""

from __future__ import annotations

from typing import Any

from ._forms import PreNorm
from ._layer import Parts


class Layer(PreNorm):
    """GPT2Block without cross-attention."""

    SUFFIX = "Block"
    PARTS = Parts(
        attention="attn",
        qkv=("attn.c_attn",),
        project="attn.c_proj",
        mlp=("mlp.c_fc",),
        activation="mlp.act",
        down="mlp.c_proj",
        norms=("ln_1", "ln_2"),
        modules={"attn": "Attention", "mlp": "MLP"},
    )
    ARGUMENTS = (
        "past_key_values",
        "attention_mask",
        "encoder_hidden_states",
        "encoder_attention_mask",
        "use_cache",
    )
    UNUSED = ("encoder_hidden_states", "encoder_attention_mask")

    @classmethod
    def refusal(cls, layer: Any) -> str | None:
        return "it has cross-attention" if hasattr(layer, "crossattention") else None

    def _passed(self, run: Any, given: dict[str, Any]) -> dict[str, Any]:
        if given["encoder_hidden_states"] is not None:
            raise ValueError("[GPT2Block] encoder_hidden_states: this block has no cross-attention")
        return super()._passed(run, given)


LAYERS = {"GPT2Block": Layer}
