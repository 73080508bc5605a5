"""ResidualAddOp: the sum after an MLP, in DeepSpeed's forms."""

from __future__ import annotations

from torch import Tensor

from .base import BaseOp
from .config import DeepSpeedInferenceConfig

_NAMES: dict[str, str] = {}


class ResidualAddOp(BaseOp):
    """ValueError for shapes or dtypes that disagree."""

    def forward(  # noqa: PLR0917 - DeepSpeed's order
        self,
        hidden_state: Tensor,
        residual: Tensor,
        add_bias: bool,
        attention_output: Tensor | None = None,
        residual_add: Tensor | None = None,
        attention_bias: Tensor | None = None,
        final_bias: Tensor | None = None,
    ) -> Tensor:
        """All (*, H), the biases (H,) -> (*, H), a new tensor.

        With h, r, a, ba, bf for hidden_state, residual, attention_output, attention_bias and
        final_bias, absent ones counting as 0, and p = config.mp_size:

        - no biases at all: (r + a) / p + h
        - ``mlp_after_attn`` and ``pre_layer_norm``: (r + a + ba + bf) / p + h
        - ``mlp_after_attn`` alone: (r + bf) / p + h, with residual_add for r where it is given
        - neither: h + a + (r + bf) / p, + ba / p where ``add_bias``

        The ranks' results add up to what p = 1 gives. (DeepSpeed does not divide in the third.)
        """
        self._checked(hidden_state=hidden_state, residual=residual)
        form = residual_form(self.config, attention_bias, final_bias)
        terms: dict[str, Tensor | None] = {"final_bias": final_bias}
        if form == "post_ln":
            residual = residual if residual_add is None else residual_add
        else:
            terms["attention_output"] = attention_output
            if form == "pre_ln" or add_bias:
                terms["attention_bias"] = attention_bias
        # post_ln divides as pre_ln does, and lacks what pre_ln adds to r.
        options = {"form": "pre_ln" if form == "post_ln" else form, "mp_size": self.config.mp_size}
        return self._run("residual_add", _NAMES, hidden_state, residual, **terms, **options)


def residual_form(
    config: DeepSpeedInferenceConfig, attention_bias: Tensor | None, final_bias: Tensor | None
) -> str:
    """Which of the forms ("pre_ln", "post_ln", "parallel") it is; without biases "pre_ln"."""
    if attention_bias is None and final_bias is None:
        return "pre_ln"
    if not config.mlp_after_attn:
        return "parallel"
    return "pre_ln" if config.pre_layer_norm else "post_ln"
