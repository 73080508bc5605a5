"""Postlude: fused-epilogue GEMMs for transformer inference.

``postlude.ops`` computes on the tensors of any framework; ``postlude.nn`` holds fused torch
modules, and ``postlude.optimize(model)`` puts them into a model; ``postlude.jax`` is for
``jax.jit``. Importing postlude imports no framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import ops
from ._interop import _C
from .norms import LayerNorm, RMSNorm
from .ops import explain
from .tuning import tuned

if TYPE_CHECKING:
    from . import jax as jax
    from . import nn as nn
    from . import reference as reference
    from . import triton as triton
    from .optimize import optimize as optimize

Unsupported = _C.Unsupported
Weight = _C.Weight
clear_workspaces = _C.clear_workspaces
show_config = _C.show_config
__version__: str = _C.version

__all__ = [
    "LayerNorm",
    "RMSNorm",
    "Unsupported",
    "Weight",
    "clear_workspaces",
    "explain",
    "ops",
    "show_config",
    "tuned",
    "__version__",
]

_LAZY = ("jax", "nn", "optimize", "reference", "triton")  # these import JAX or torch


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f".{name}", __name__)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
