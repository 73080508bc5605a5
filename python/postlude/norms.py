"""LayerNorm and RMSNorm: a norm over the last dimension as a plain value, for the ``norm=`` of
every op."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

_REQUIRED: Any = None  # not an object() of its own, whose identity torch.compile does not know


@dataclasses.dataclass(frozen=True, eq=False)
class LayerNorm:
    """norm(r) = (r - mean(r)) / sqrt(var(r) + eps) * weight + bias, with the biased variance of the
    last dimension.

    ``weight`` (H,) and ``bias`` (H,) are tensors of x's dtype or float32, or None (1 and 0).
    ``eps`` has no default: it comes from the model. Statistics are float32, summed from differences
    so that a large mean does not cancel the variance. TypeError without an eps.
    """

    weight: Any
    bias: Any = None
    eps: float = _REQUIRED

    kind: ClassVar[str] = "layer"

    def __post_init__(self) -> None:
        if self.eps is None:
            raise TypeError(
                "[LayerNorm] eps: expected a number, got nothing; it comes from the model"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class RMSNorm:
    """norm(r) = r / sqrt(mean(r^2) + eps) * (weight + weight_offset).

    ``weight`` (H,) is a tensor of x's dtype or float32, or None (1). ``weight_offset`` is 1 for
    Gemma, whose checkpoints store weight - 1. ``eps`` has no default: it comes from the model.
    """

    weight: Any
    eps: float
    weight_offset: float = 0.0

    kind: ClassVar[str] = "rms"
