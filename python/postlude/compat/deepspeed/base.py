"""BaseOp: what the ops share, and what they read from the config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ... import Weight
from ...norms import LayerNorm, RMSNorm
from ...reference import QuantizedWeight
from . import dispatch, triton_kernels, weights
from .config import DeepSpeedInferenceConfig
from .types import ActivationFuncType, NormType

Norm = LayerNorm | RMSNorm

_ACTIVATIONS = {
    ActivationFuncType.GELU: ("gelu_tanh", False),
    ActivationFuncType.ReLU: ("relu", False),
    ActivationFuncType.GATED_GELU: ("gelu_erf", True),
    ActivationFuncType.GATED_SILU: ("silu", True),
}
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


class BaseOp(torch.nn.Module):
    """An op with its config, which is read at each call."""

    def __init__(self, config: DeepSpeedInferenceConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def kernels(self) -> Any:
        """The functions of ``postlude.ops`` that the op calls; Triton's with config.use_triton."""
        return triton_kernels.select(self._name, self.config)

    def _run(self, function: str, names: Mapping[str, str], *args: Any, **kwargs: Any) -> Any:
        return dispatch.run(self._name, self.kernels, function, names, *args, **kwargs)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _checked(self, **inputs: Tensor) -> None:
        for name, value in inputs.items():
            check_dtype(self._name, name, value, self.config)

    def _weight(self, name: str, weight: Any) -> Tensor | QuantizedWeight | Weight:
        return weights.logical(self._name, name, weight, self.config)

    def _norm(self, gamma: Tensor | None, beta: Tensor | None) -> Norm:
        return norm_of(self._name, self.config, gamma, beta)

    def extra_repr(self) -> str:
        return f"dtype={self.config.dtype}"


def activation_dtype(config: DeepSpeedInferenceConfig) -> torch.dtype:
    """The dtype of activations, biases and norms: float16 where config.dtype is int8."""
    return torch.float16 if config.dtype == torch.int8 else config.dtype


def check_dtype(op: str, name: str, value: Any, config: DeepSpeedInferenceConfig) -> None:
    """TypeError for what is no tensor, ValueError for one of another dtype than the config's."""
    if not isinstance(value, Tensor):
        raise TypeError(f"[{op}] {name}: expected a torch tensor, got {type(value).__name__}")
    expected = activation_dtype(config)
    if expected not in _DTYPES:
        raise ValueError(
            f"[{op}] config.dtype: expected float32, float16, bfloat16 or int8, got {config.dtype}"
        )
    if value.dtype != expected:
        raise ValueError(
            f"[{op}] {name}: expected {expected}, as config.dtype is {config.dtype}, got "
            f"{value.dtype}"
        )


def activation_of(op: str, config: DeepSpeedInferenceConfig) -> tuple[str, bool]:
    """(name of the activation, whether it is gated); ValueError for one that is none."""
    kind = config.mlp_act_func_type
    if kind not in _ACTIVATIONS:
        expected = ", ".join(f"ActivationFuncType.{known.name}" for known in _ACTIVATIONS)
        raise ValueError(
            f"[{op}] config.mlp_act_func_type: expected one of {expected}, got {kind!r}"
        )
    return _ACTIVATIONS[kind]


def norm_of(
    op: str, config: DeepSpeedInferenceConfig, gamma: Tensor | None, beta: Tensor | None
) -> Norm:
    """The norm of the config with these parameters; ValueError for a type that is not computed."""
    if config.norm_type == NormType.LayerNorm:
        return LayerNorm(gamma, beta, config.epsilon)
    if config.norm_type == NormType.RMSNorm:
        return RMSNorm(gamma, config.epsilon)
    raise ValueError(
        f"[{op}] config.norm_type: expected NormType.LayerNorm or NormType.RMSNorm, got "
        f"{config.norm_type!r}"
    )
