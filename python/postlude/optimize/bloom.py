"""The blocks of BLOOM: pre-norm, with biases of the distance in place of positions."""

from __future__ import annotations

from typing import Any

import torch

from ._forms import PreNorm
from ._layer import Parts


class _Nothing:
    """What leaves everything as it is when added to it, without a kernel."""

    def __add__(self, other: Any) -> Any:
        return other


class Layer(PreNorm):
    """BloomBlock."""

    SUFFIX = "Block"
    PARTS = Parts(
        attention="self_attention",
        qkv=("self_attention.query_key_value",),
        project="self_attention.dense",
        mlp=("mlp.dense_h_to_4h",),
        activation="mlp.gelu_impl",
        down="mlp.dense_4h_to_h",
        norms=("input_layernorm", "post_attention_layernorm"),
        modules={"self_attention": "Attention", "mlp": "MLP"},
    )
    ARGUMENTS = ("alibi", "attention_mask", "layer_past", "use_cache", "output_attentions")
    RETURNS_WEIGHTS = True

    @classmethod
    def refusal(cls, layer: Any) -> str | None:
        if layer.apply_residual_connection_post_layernorm:
            return "apply_residual_connection_post_layernorm is set"
        if layer.self_attention.pretraining_tp > 1 and layer.self_attention.slow_but_exact:
            return "slow_but_exact is set"
        return None

    def _passed(self, run: Any, given: dict[str, Any]) -> dict[str, Any]:
        # The attention adds its residual to what its projection returns, here still the context.
        nothing = 0 if torch.compiler.is_compiling() else _Nothing()
        return {**super()._passed(run, given), "residual": nothing}


LAYERS = {"BloomBlock": Layer}
