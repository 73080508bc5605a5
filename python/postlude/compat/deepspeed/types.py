"""The enumerations that a DeepSpeed inference config is written in."""

import enum


class NormType(enum.IntEnum):
    """The norm of a layer. Ops compute LayerNorm and RMSNorm."""

    UNKNOWN = 0
    LayerNorm = 1
    GroupNorm = 2
    RMSNorm = 3


class ActivationFuncType(enum.IntEnum):
    """The activation of an MLP: GELU is the tanh form, GATED_GELU the erf form."""

    UNKNOWN = 0
    GELU = 1
    ReLU = 2
    GATED_GELU = 3
    GATED_SILU = 4


GATED_ACTIVATION_TYPES = (ActivationFuncType.GATED_GELU, ActivationFuncType.GATED_SILU)
