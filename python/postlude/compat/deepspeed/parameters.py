"""The parameters of a DeepSpeedMLP: made or assigned, merged, packed once, watched for changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ... import Weight, ops, show_config
from ...nn._bound import Bound, Slot
from ...reference import QuantizedWeight
from ...torch_library._bound import PREPARE, Maker
from . import dispatch, weights
from .base import Norm, activation_dtype, activation_of, norm_of
from .config import DeepSpeedInferenceConfig
from .types import GATED_ACTIVATION_TYPES, NormType

_WHOLE = ("attn_nw", "attn_nb", "inter_w", "inter_b", "output_w", "output_b")
_HALVES = ("inter_up_w", "inter_up_b", "inter_gate_w", "inter_gate_b")
# What else the bound parts are made from: of the config, and of the module.
_FIELDS = ("norm_type", "mlp_act_func_type", "epsilon", "transposed_mode")
_OWN = ("config", "q_scales", "q_groups", "merge_count")
# The places of inter_w and output_w in q_scales.
_INTER, _OUTPUT = -2, -1

Matrix = Tensor | QuantizedWeight


class Parts(NamedTuple):
    """The parameters as ``mlp`` of the ops takes them; no norm where attn_nw is None."""

    weight_in: Matrix | Weight
    bias_in: Tensor | None
    weight_out: Matrix | Weight
    bias_out: Tensor | None
    norm: Norm | None
    options: dict[str, Any]  # what else each call of mlp is given


class Parameters(Bound):
    """A module with DeepSpeedMLP's parameters, and ``_ready``, which gives them as ``Parts``."""

    inter_w: Tensor | None
    inter_b: Tensor | None
    output_w: Tensor | None
    output_b: Tensor | None
    attn_nw: Tensor | None
    attn_nb: Tensor | None

    def __init__(
        self,
        config: DeepSpeedInferenceConfig,
        q_scales: Any,
        q_groups: int,
        merge_count: int,
    ) -> None:
        super().__init__()
        self.config = config
        self.q_scales = q_scales
        self.q_groups = q_groups
        if merge_count < 1 or merge_count & (merge_count - 1):
            raise ValueError(
                f"[{self._name}] merge_count: expected a power of 2, got {merge_count}"
            )
        self.merge_count = merge_count.bit_length() - 1  # its logarithm, as DeepSpeed keeps it
        hidden, inner = config.hidden_size, config.intermediate_size
        inner = inner if inner > 0 else 4 * hidden
        if inner % config.mp_size:
            raise ValueError(
                f"[{self._name}] config.mp_size: expected a divisor of the intermediate size "
                f"{inner}, got {config.mp_size}"
            )
        gated = config.mlp_act_func_type in GATED_ACTIVATION_TYPES
        self.intm_o_sz_per_partition = inner // config.mp_size
        self.intm_w_sz_per_partition = self.intm_o_sz_per_partition * (2 if gated else 1)
        if config.set_empty_params:
            for name in (*_WHOLE, *_HALVES):
                setattr(self, name, None)
        else:
            self._allocate(hidden)

    @property
    def kernels(self) -> Any:
        """The functions of ``postlude.ops`` that the module calls: mlp, norm, and pack_weight,
        unless weights are to stay as they are."""
        return ops

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _allocate(self, hidden: int) -> None:
        if hidden < 0:
            raise ValueError(
                f"[{self._name}] config.hidden_size: expected at least 0, got {hidden}"
            )
        config, device = self.config, _device()
        rows_first = config.transposed_mode or config.dtype == torch.int8
        inner, outer = self.intm_w_sz_per_partition, self.intm_o_sz_per_partition
        # (outputs, inputs) of a weight, (size,) of a vector.
        shapes = ((hidden,), (hidden,), (inner, hidden), (inner,), (hidden, outer), (hidden,))
        for name, shape in zip(_WHOLE, shapes, strict=True):
            matrix = len(shape) == 2
            value = torch.empty(
                shape if rows_first or not matrix else shape[::-1],
                dtype=config.dtype if matrix else activation_dtype(config),
                device=device,
            )
            self.register_parameter(name, torch.nn.Parameter(value, requires_grad=False))

    def _slots(self) -> Iterator[Slot]:
        yield from super()._slots()
        table = self.__dict__  # where a parameter stands that is None or a plain tensor
        names = (*_OWN, *(name for name in (*_WHOLE, *_HALVES) if name in table))
        yield from (Slot(table, name, table[name]) for name in names)
        fields = vars(self.config)
        yield from (Slot(fields, name, fields[name]) for name in _FIELDS)
        for name in (*_WHOLE, *_HALVES):
            kept = getattr(getattr(self, name, None), "__dict__", {})
            if "scale" in kept:
                yield Slot(kept, "scale", kept["scale"])

    def _make(self, make: Maker = PREPARE) -> tuple[Parts, int]:
        packs = make is PREPARE  # a graph holds plain weights
        norm = None
        activation, gated = "gelu_tanh", False  # of GELUGemmOp, whatever the config names
        if self.attn_nw is not None:
            activation, gated = activation_of(self._name, self.config)
            norm = norm_of(self._name, self.config, self.attn_nw, self.attn_nb)
        inter, bias_in = self._inter()
        if norm is not None and self.config.norm_type == NormType.RMSNorm:
            bias_in = None
        output = self._weight("output_w", self.output_w, _OUTPUT)
        weight_in = self._packed("inter_w", inter, gated) if packs else inter
        weight_out = self._packed("output_w", output, False) if packs else output
        size = sum(weight.bytes for weight in (weight_in, weight_out) if isinstance(weight, Weight))
        if self.inter_w is None and weight_in is inter:  # a merged copy that stays as it is
            values = inter.values if isinstance(inter, QuantizedWeight) else inter
            size += values.nbytes
        options = {"activation": activation, "gated": gated, "layout": "up_gate"}
        options.update(self._op_options())
        return Parts(weight_in, bias_in, weight_out, self.output_b, norm, options), size

    def _inter(self) -> tuple[Matrix, Tensor | None]:
        """The first product's weight (out, in) and bias, of a gated one [up; gate]."""
        if self.inter_w is not None:
            return self._weight("inter_w", self.inter_w, _INTER), self.inter_b
        up_w, up_b, gate_w, gate_b = (getattr(self, name, None) for name in _HALVES)
        if up_w is None or gate_w is None:
            raise ValueError(
                f"[{self._name}] inter_w: expected a weight, or inter_up_w and inter_gate_w in its "
                "place, got None"
            )
        up = weights.rows_first(self._name, "inter_up_w", up_w, self.config)
        gate = weights.rows_first(self._name, "inter_gate_w", gate_w, self.config)
        if up.dtype == torch.int8 and self.q_scales is not None and not hasattr(up_w, "scale"):
            both = torch.cat([up, gate])
            merged: Matrix = QuantizedWeight(both, self._checkpoint_scales("inter_w", both, _INTER))
        else:
            merged = weights.merge(
                self._name,
                self._weight("inter_up_w", up_w, _INTER),
                self._weight("inter_gate_w", gate_w, _INTER),
            )
        if up_b is None or gate_b is None:
            if up_b is not gate_b:
                raise ValueError(
                    f"[{self._name}] inter_gate_b: expected a bias just where inter_up_b is one, "
                    f"got {type(gate_b).__name__} beside {type(up_b).__name__}"
                )
            return merged, None
        return merged, torch.cat([up_b, gate_b])

    def _weight(self, name: str, weight: Any, row: int) -> Matrix:
        """A parameter as (out, in), an int8 one with its scales on its device."""
        if weight is None:
            raise ValueError(f"[{self._name}] {name}: expected a weight, got None")
        matrix = weights.rows_first(self._name, name, weight, self.config)
        if matrix.dtype != torch.int8:
            return matrix
        if self.q_scales is not None and not hasattr(weight, "scale"):
            scales = self._checkpoint_scales(name, matrix, row)
        else:
            scales = weights.row_scales(self._name, name, weight)
        return QuantizedWeight(matrix, scales.to(matrix.device))

    def _checkpoint_scales(self, name: str, matrix: Tensor, row: int) -> Tensor:
        if len(self.q_scales) < 2:
            raise ValueError(
                f"[{self._name}] q_scales: expected 2 rows or more, got {len(self.q_scales)}"
            )
        groups = (self.q_groups, 2**self.merge_count)
        scales = weights.merged_scales(
            self._name,
            f"q_scales of {name}",
            self.q_scales[row],
            groups,
            matrix,
            side_by_side=row == _OUTPUT,
        )
        return scales.to(matrix.device)

    def _packed(self, name: str, weight: Matrix, gated: bool) -> Matrix | Weight:
        """``weight`` in the layout that the kernels read fastest; int8 stays as it is."""
        if not isinstance(weight, Tensor) or not hasattr(self.kernels, "pack_weight"):
            return weight
        names = {"weight": name}
        options = {"gated": gated, "layout": "up_gate"}
        return dispatch.run(self._name, self.kernels, "pack_weight", names, weight, **options)


def _device() -> torch.device | None:
    """Where new parameters are made: torch's default device, or the GPU where that is the CPU."""
    if torch.get_default_device().type != "cpu" or not torch.cuda.is_available():
        return None
    if "cuda: not built" in show_config():
        return None
    return torch.device("cuda", torch.cuda.current_device())
