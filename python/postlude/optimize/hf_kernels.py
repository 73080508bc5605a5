"""Layers for Hugging Face's package ``kernels``: what it puts into a model that asks for them.

Classes of transformers that are marked with ``use_kernel_forward_from_hub("RMSNorm")`` take another
``forward`` when the model is kernelized. The mapping here has it come from this package: nothing is
downloaded. Such a layer holds no state, so a norm is all that it can be: a fused block needs its
packed weights, and for that there is ``postlude.optimize``.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from .. import ops
from ..norms import RMSNorm as Norm


class RMSNorm(torch.nn.Module):
    """Stands for a norm of transformers that has ``weight`` and ``variance_epsilon``."""

    has_backward = False
    can_torch_compile = False

    def forward(self, hidden_states: Tensor) -> Tensor:
        """hidden_states (*, hidden) -> the same; RuntimeError where autograd needs a gradient."""
        norm = Norm(self.weight, self.variance_epsilon)  # type: ignore[arg-type]
        y: Tensor = ops.norm(hidden_states, norm)
        return y


class _Repository:
    """What ``kernels`` takes a layer from."""

    def __init__(self, layer: type[torch.nn.Module]) -> None:
        self.layer = layer

    def load(self) -> type[torch.nn.Module]:
        return self.layer

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Repository) and other.layer is self.layer

    def __hash__(self) -> int:
        return hash(self.layer)

    def __str__(self) -> str:
        return f"{self.layer.__module__}.{self.layer.__name__}"


def mapping() -> dict[str, dict[str, dict[Any, Any]]]:
    """For ``kernels.use_kernel_mapping`` and ``register_kernel_mapping``: the layers for inference,
    on the CPU and on CUDA. ImportError where the package ``kernels`` is not installed."""
    mode = importlib.import_module("kernels").Mode.INFERENCE
    return {"RMSNorm": {device: {mode: _Repository(RMSNorm)} for device in ("cpu", "cuda")}}
