"""DeepSpeedMLP: the MLP block of a transformer layer, with its residual sum and all-reduce."""

from __future__ import annotations

from typing import Any

import torch.distributed
from torch import Tensor

from ... import ops
from . import dispatch
from .base import check_dtype
from .config import DeepSpeedInferenceConfig
from .gelu_gemm import GELUGemmOp
from .mlp_gemm import MLPGemmOp
from .parameters import Parameters, Parts
from .residual_add import ResidualAddOp, residual_form
from .types import NormType
from .vector_matmul import VectorMatMulOp

_NAMES = {
    "x": "input",
    "input_bias": "bias",
    "attention_bias": "bias",
    "weight_in": "inter_w",
    "bias_in": "inter_b",
    "weight_out": "output_w",
    "bias_out": "output_b",
    "final_bias": "output_b",
    "norm.weight": "attn_nw",
    "norm.bias": "attn_nb",
    "hidden_state": "input",
}
_OF_NORMED = {**_NAMES, "x": "residual_norm"}
_OF_RESIDUAL = {**_NAMES, "x": "residual"}


class DeepSpeedMLP(Parameters):
    """The MLP of one layer, by DeepSpeed's names; ``config.mp_size`` ranks hold a slice each.

    Parameters: ``attn_nw``, ``attn_nb``, ``inter_w``, ``inter_b``, ``output_w``, ``output_b``, new
    and not initialised, on the GPU that is current where there is one; with
    ``config.set_empty_params`` all are None, to be assigned, and ``inter_up_w``, ``inter_up_b``,
    ``inter_gate_w``, ``inter_gate_b`` may take the place of ``inter_w`` and ``inter_b``. inter_w of
    a gated activation has up's outputs before gate's. Weights are packed (and up and gate merged)
    at the first call, and again only when one has been replaced or written; that copy, of
    ``packed_bytes``, is never in the state_dict, and int8 weights need none.

    The scales of an int8 weight are its attribute ``scale``, (groups,) blocks of rows. Where it has
    none, they are the last two rows of ``q_scales`` (DeepSpeed's are qkv, dense, inter, output):
    ``q_groups`` groups a weight, twice as many with ``mlp_extra_grouping``, for each of the
    ``merge_count`` checkpoints (a power of 2) that the weight was merged of: inter_w one below the
    other, output_w side by side.

    ValueError where mp_size does not divide the intermediate size, or for a merge_count that is no
    power of 2. ``kernels`` has the functions of ``postlude.ops`` that the module calls (mlp, norm,
    and pack_weight unless weights are to stay as they are); a subclass may bring others.
    """

    def __init__(
        self,
        config: DeepSpeedInferenceConfig,
        mp_group: Any = None,
        q_scales: Any = None,
        q_groups: int = 1,
        merge_count: int = 1,
        mlp_extra_grouping: bool = False,
    ) -> None:
        groups = q_groups * 2 if mlp_extra_grouping else q_groups
        super().__init__(config, q_scales, groups, merge_count)
        self.mp_group = mp_group
        self.mlp_gemm_func = MLPGemmOp(config)
        self.vector_matmul_func = VectorMatMulOp(config)
        self.fused_gemm_gelu = GELUGemmOp(config)
        self.residual_add_func = ResidualAddOp(config)

    def forward(
        self,
        input: Tensor,
        residual: Tensor,
        residual_norm: Tensor | None,
        bias: Tensor | None,
    ) -> Tensor:
        """input (the attention's output), residual and residual_norm (*, H), bias (the attention's
        output bias) (H,) or None -> (*, H), the layer's output, summed over ``mp_group``.

        With h the MLP's result, a = input, r = residual, ba = bias, bf = output_b, p = mp_size:

        - attn_nw None: h = gelu_tanh(residual_norm W1 + inter_b) W2
        - else h as ``MLPGemmOp`` has it, with attn_nw and attn_nb; RMSNorm updates input and
          residual in place

        and the sum as ``ResidualAddOp`` has it, of the r and a that were passed; in its post-LN
        form, r is LN's result, or of RMSNorm the updated residual. A bias that is None is left out.
        """
        for name, value in (("input", input), ("residual", residual)):
            check_dtype(self._name, name, value, self.config)
        parts = self._ready(residual)
        form = residual_form(self.config, bias, parts.bias_out)
        if parts.norm is None:
            check_dtype(self._name, "residual_norm", residual_norm, self.config)
            y = self._after_norm(parts, form, input, residual, residual_norm, bias)
        elif self.config.norm_type == NormType.RMSNorm:
            y = self._with_rms_norm(parts, form, input, residual, bias)
        else:
            y = self._with_layer_norm(parts, form, input, residual, bias)
        if self.mp_group is not None and torch.distributed.get_world_size(self.mp_group) > 1:
            torch.distributed.all_reduce(y, group=self.mp_group)
        return y

    def _after_norm(
        self,
        parts: Parts,
        form: str,
        input: Tensor,
        residual: Tensor,
        normed: Any,
        bias: Tensor | None,
    ) -> Tensor:
        names = _OF_NORMED
        if self.config.mp_size > 1:
            h = self._mlp(parts, names, normed)
            return self._sum(parts, h, input, residual, bias)
        added = residual if form == "post_ln" else self._attention_sum(input, residual, bias)
        return self._mlp(parts, names, normed, add_residual=added, bias_out=parts.bias_out)

    def _with_layer_norm(
        self, parts: Parts, form: str, input: Tensor, residual: Tensor, bias: Tensor | None
    ) -> Tensor:
        single = self.config.mp_size == 1
        names, x, normed = _NAMES, input, None
        sums: dict[str, Tensor | None] = {}
        if not self.config.mlp_after_attn:
            names, x = _OF_RESIDUAL, residual
        elif form == "post_ln":  # the norm's result is also what is added
            normed, _ = self._norm(parts, input, residual, bias)
            parts, x = parts._replace(norm=None), normed
        else:
            sums = {"residual": residual, "input_bias": bias}
        if not single:
            h = self._mlp(parts, names, x, **sums)
            return self._sum(parts, h, input, residual, bias, normed)
        added: Any = True
        if not self.config.mlp_after_attn:
            added = self._attention_sum(input, residual, bias)
        return self._mlp(parts, names, x, add_residual=added, bias_out=parts.bias_out, **sums)

    def _with_rms_norm(
        self, parts: Parts, form: str, input: Tensor, residual: Tensor, bias: Tensor | None
    ) -> Tensor:
        # In every form, p = 1 adds the updated residual, r + a + ba.
        added: Any = True
        bias_out = parts.bias_out
        if self.config.mp_size > 1:
            added, bias_out = False, None
            if form == "parallel":  # which needs the inputs as they were
                shared = {"final_bias": parts.bias_out, "mp_size": self.config.mp_size}
                added = self._attention_sum(input, residual, bias, **shared)
        sums = {"residual": residual, "input_bias": bias, "residual_out": residual}
        y = self._mlp(parts, _NAMES, input, add_residual=added, bias_out=bias_out, **sums)
        if bias is not None:
            input.add_(bias)
        if added is not False:
            return y
        return self.residual_add_func(y, residual, False, final_bias=parts.bias_out)

    def _mlp(
        self,
        parts: Parts,
        names: dict[str, str],
        x: Tensor,
        *,
        add_residual: Any = False,
        bias_out: Tensor | None = None,
        **sums: Tensor | None,
    ) -> Tensor:
        return dispatch.run(
            self._name,
            self.kernels,
            "mlp",
            names,
            x,
            parts.weight_in,
            parts.weight_out,
            parts.bias_in,
            bias_out,
            norm=parts.norm,
            add_residual=add_residual,
            **parts.options,
            **sums,
        )

    def _norm(
        self, parts: Parts, input: Tensor, residual: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        options = {"batch_invariant": True} if self.batch_invariant else {}
        sums = {"residual": residual, "bias": bias}
        terms: dict[str, Any] = {**sums, **options}
        return dispatch.run(self._name, self.kernels, "norm", _NAMES, input, parts.norm, **terms)

    def _attention_sum(
        self, input: Tensor, residual: Tensor, bias: Tensor | None, **options: Any
    ) -> Tensor:
        """a + (r + ba + bf) / p, p = 1 and no bf unless the options say otherwise."""
        terms = {"form": "parallel", "attention_bias": bias, **options}
        return dispatch.run(self._name, ops, "residual_add", _NAMES, input, residual, **terms)

    def _sum(
        self,
        parts: Parts,
        h: Tensor,
        input: Tensor,
        residual: Tensor,
        bias: Tensor | None,
        normed: Tensor | None = None,
    ) -> Tensor:
        return self.residual_add_func(
            h,
            residual,
            bias is not None,
            attention_output=input,
            residual_add=normed,
            attention_bias=bias,
            final_bias=parts.bias_out,
        )
