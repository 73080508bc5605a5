"""Fused layers as torch modules: Linear, QKV and MLP, for inference.

Each holds ordinary parameters under ordinary names, so that checkpoints load and ``.to()``,
``deepcopy`` and ``state_dict`` work as ever. At the first call the weights are bound (merged and
packed) once; that copy is never in the state_dict, and is made again only when a parameter has
changed.
"""

from .linear import Linear
from .mlp import MLP
from .qkv import QKV

__all__ = ["MLP", "QKV", "Linear"]
