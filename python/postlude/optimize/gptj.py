"""The blocks of GPT-J: attention and MLP side by side, behind one norm."""

from __future__ import annotations

from ._forms import Parallel
from ._layer import Parts


class Layer(Parallel):
    """GPTJBlock."""

    SUFFIX = "Block"
    PARTS = Parts(
        attention="attn",
        qkv=("attn.q_proj", "attn.k_proj", "attn.v_proj"),
        project="attn.out_proj",
        mlp=("mlp.fc_in",),
        activation="mlp.act",
        down="mlp.fc_out",
        norms=("ln_1",),
        modules={"attn": "Attention", "mlp": "MLP"},
    )
    ARGUMENTS = ("layer_past", "attention_mask", "position_ids", "use_cache", "output_attentions")
    RETURNS_WEIGHTS = True


LAYERS = {"GPTJBlock": Layer}
