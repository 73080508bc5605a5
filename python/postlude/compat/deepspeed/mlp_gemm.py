"""MLPGemmOp: residual sum, norm, first product, activation and second product of an MLP."""

from __future__ import annotations

from torch import Tensor

from .base import BaseOp, activation_of
from .types import NormType

_NAMES = {
    "x": "input",
    "weight_in": "weight_interm",
    "bias_in": "bias",
    "norm.weight": "gamma",
    "norm.bias": "beta",
}
_PARALLEL = {**_NAMES, "x": "residual"}


class MLPGemmOp(BaseOp):
    """The MLP after its residual sum and norm, without output bias and without the sum after it.

    ValueError for a norm type other than LayerNorm and RMSNorm, for an unknown activation, and for
    shapes or dtypes that disagree.
    """

    def forward(  # noqa: PLR0917 - DeepSpeed's order
        self,
        input: Tensor,
        residual: Tensor,
        weight_interm: Tensor,
        weight_out: Tensor,
        input_bias: Tensor | None = None,
        bias: Tensor | None = None,
        gamma: Tensor | None = None,
        beta: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """input and residual (*, H), input_bias, gamma and beta (H,), weight_interm with I outputs,
        2 * I where gated, [up; gate], bias of as many, weight_out with N -> (output (*, N),
        residual_add (*, H)).

        h(n) = act(n W1 + bias), or act(gate) * up where gated; output = h(n) W2.

        - LayerNorm: n = LN(input + residual + input_bias), or LN(residual) where not
          ``config.mlp_after_attn``; residual_add = n.
        - RMSNorm: input += input_bias and residual += input, both in place; n = RMS(residual), no
          ``bias`` and no ``beta``; residual_add is ``residual`` itself.
        """
        self._checked(input=input, residual=residual)
        activation, gated = activation_of(self._name, self.config)
        weights = (
            self._weight("weight_interm", weight_interm),
            self._weight("weight_out", weight_out),
        )
        options = {
            "activation": activation,
            "gated": gated,
            "layout": "up_gate",
            "norm": self._norm(gamma, beta),
            "add_residual": False,
        }
        if self.config.norm_type == NormType.RMSNorm:
            sums = {"residual": residual, "input_bias": input_bias}
            output = self._run(
                "mlp", _NAMES, input, *weights, residual_out=residual, **sums, **options
            )
            if input_bias is not None:
                input.add_(input_bias)
            return output, residual
        options["return_normed"] = True
        if not self.config.mlp_after_attn:
            return self._run("mlp", _PARALLEL, residual, *weights, bias, **options)
        sums = {"residual": residual, "input_bias": input_bias}
        return self._run("mlp", _NAMES, input, *weights, bias, **sums, **options)
