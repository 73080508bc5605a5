"""QKVGemmOp: a norm and the query, key and value product after it."""

from __future__ import annotations

from torch import Tensor

from .base import BaseOp

_NAMES = {"x": "input", "norm.weight": "gamma", "norm.bias": "beta"}


class QKVGemmOp(BaseOp):
    """ValueError for a norm type other than LayerNorm and RMSNorm, and for shapes or dtypes that
    disagree."""

    def forward(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        gamma: Tensor | None,
        beta: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """input (*, H), gamma and beta (H,), weight with N outputs, bias (N,) or None -> (output
        (*, N), norm (*, H)).

        norm = LN or RMS of input, as ``config.norm_type`` says; output = norm W (+ bias).
        """
        self._checked(input=input)
        options = {"norm": self._norm(gamma, beta), "return_normed": True}
        return self._run("qkv", _NAMES, input, self._weight("weight", weight), bias, **options)
