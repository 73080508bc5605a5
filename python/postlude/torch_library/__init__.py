"""The operations as torch operators ``torch.ops.postlude.*``, for torch.compile and torch.export.

Importing this module registers them; ``postlude.nn``, ``postlude.optimize`` and, while torch traces
a call, ``postlude.ops`` do so by themselves. Import it before loading an exported program. Eager
calls of ``ops`` and ``nn`` do not go through these operators.

- ``linear``, ``qkv``, ``mlp``, ``norm`` and ``residual_add`` compute what ``postlude.ops`` says.
  Where that returns a tuple there are the overloads ``qkv.normed``, ``mlp.all`` and
  ``norm.residual``; the overloads ``out`` write into what they are given and return nothing. A norm
  is passed as its kind ("layer" or "rms") and its parts.
- ``bound_linear``, ``bound_qkv`` and ``bound_mlp`` are what a layer of ``postlude.nn`` becomes in a
  graph: the layer's own parameters go in, and the copy that was packed from them is found by them.

Inference only: RuntimeError where grad mode is on and a tensor requires grad.
"""

from __future__ import annotations

import torch

from .. import _interop
from . import _bound as _bound
from . import _ops as _ops
from ._register import OPERATORS

__all__ = ["OPERATORS"]

# From now on the cheapest way to ask.
_interop.tracing = torch.compiler.is_compiling
