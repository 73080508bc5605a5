"""GELUGemmOp: two products with GELU between them."""

from __future__ import annotations

from torch import Tensor

from .base import BaseOp

_NAMES = {"x": "input", "weight_in": "weight", "bias_in": "bias"}


class GELUGemmOp(BaseOp):
    """ValueError for shapes or dtypes that disagree."""

    def forward(
        self, input: Tensor, weight: Tensor, bias: Tensor | None, weight_out: Tensor
    ) -> Tensor:
        """input (*, H), weight with I outputs, bias (I,) or None, weight_out with N -> (*, N).

        gelu_tanh(input W + bias) W_out, whatever activation the config names.
        """
        self._checked(input=input)
        weights = self._weight("weight", weight), self._weight("weight_out", weight_out)
        options = {"activation": "gelu_tanh", "add_residual": False}
        return self._run("mlp", _NAMES, input, *weights, bias, **options)
