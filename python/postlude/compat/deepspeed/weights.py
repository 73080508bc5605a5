"""Weights as DeepSpeed stores them, turned to the (out, in) views and scales that ops take."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import Weight
from ...reference import QuantizedWeight
from .config import DeepSpeedInferenceConfig


def logical(
    op: str, name: str, weight: Any, config: DeepSpeedInferenceConfig
) -> Tensor | QuantizedWeight | Weight:
    """``weight`` as (out, in), without a copy; a ``postlude.Weight`` as it is.

    A float weight is [in, out], or [out, in] where ``config.transposed_mode``. An int8 one is
    always [out, in], and its scales are its attribute ``scale``. TypeError for what is no tensor,
    ValueError for another rank, or for an int8 weight without scales.
    """
    if isinstance(weight, Weight):
        return weight
    matrix = rows_first(op, name, weight, config)
    if matrix.dtype != torch.int8:
        return matrix
    return QuantizedWeight(matrix, row_scales(op, name, weight))


def rows_first(op: str, name: str, weight: Any, config: DeepSpeedInferenceConfig) -> Tensor:
    """The values of ``weight`` as (out, in), a view."""
    if not isinstance(weight, Tensor):
        raise TypeError(f"[{op}] {name}: expected a torch tensor, got {type(weight).__name__}")
    if weight.dim() != 2:
        raise ValueError(f"[{op}] {name}: expected 2 dimensions, got shape {tuple(weight.shape)}")
    return weight if weight.dtype == torch.int8 or config.transposed_mode else weight.t()


def row_scales(op: str, name: str, weight: Tensor) -> Tensor:
    """The scales (groups,) of an int8 weight's blocks of rows.

    They are the first ``len(scale)`` numbers of ``weight.scale``: DeepSpeed may store more columns,
    for other partitions.
    """
    scale = getattr(weight, "scale", None)
    groups = len(scale) if isinstance(scale, Tensor) and scale.dim() else 1
    return _flat_scales(op, f"{name}.scale", scale, groups, weight)


def merged_scales(
    op: str, name: str, row: Any, groups: tuple[int, int], weight: Tensor, *, side_by_side: bool
) -> Tensor:
    """The scales of an int8 ``weight`` (out, in) that was merged of ``groups[1]`` parts, each with
    ``groups[0]`` blocks of rows, from ``row``, a row of the q_scales that came with it.

    Parts one below the other have one block after the other, and scales (blocks,). Those
    ``side_by_side`` share their blocks of rows, a scale for each part: scales (out, parts).
    """
    count, parts = groups
    if not side_by_side or parts == 1:
        return _flat_scales(op, name, row, count * parts, weight)
    rows, columns = weight.shape
    if rows % count or columns % parts:
        raise ValueError(
            f"[{op}] {name}: expected a weight (out, in) that {count} groups of rows and {parts} "
            f"merged parts divide, got {(rows, columns)}"
        )
    flat = _flat_scales(op, name, row, count * parts, weight, divide=False)
    return flat.reshape(count, parts).repeat_interleave(rows // count, 0)


def merge(
    op: str, up: Tensor | QuantizedWeight, gate: Tensor | QuantizedWeight
) -> Tensor | QuantizedWeight:
    """[up; gate], a new (2 * I, in) weight. ValueError where only one of them is int8."""
    if isinstance(up, Tensor) and isinstance(gate, Tensor) and up.dtype == gate.dtype:
        return torch.cat([up, gate])
    if not isinstance(up, QuantizedWeight) or not isinstance(gate, QuantizedWeight):
        raise ValueError(f"[{op}] inter_gate_w: expected the dtype of inter_up_w, got another")
    scales = [up.scales, gate.scales]
    size, other = (len(half.values) // max(len(half.scales), 1) for half in (up, gate))
    if size != other:  # a scale for each row says the same
        scales = [up.scales.repeat_interleave(size), gate.scales.repeat_interleave(other)]
    return QuantizedWeight(torch.cat([up.values, gate.values]), torch.cat(scales))


def _flat_scales(
    op: str, name: str, scale: Any, count: int, weight: Tensor, *, divide: bool = True
) -> Tensor:
    """The first ``count`` numbers of ``scale``."""
    if not isinstance(scale, Tensor) or scale.dtype != torch.float32:
        got = scale.dtype if isinstance(scale, Tensor) else type(scale).__name__
        raise ValueError(
            f"[{op}] {name}: expected a float32 tensor of scales, as the weight is int8, got {got}"
        )
    if scale.numel() < count:
        raise ValueError(f"[{op}] {name}: expected at least {count} scales, got {scale.numel()}")
    if divide and (count < 1 or len(weight) % count):
        raise ValueError(
            f"[{op}] {name}: expected a count of scales that divides {len(weight)} rows, got "
            f"{count}"
        )
    return scale.reshape(-1)[:count]
