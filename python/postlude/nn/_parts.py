"""The ordinary torch modules inside the fused layers: new, or on the storage of a model's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..norms import LayerNorm, RMSNorm

Norm = LayerNorm | RMSNorm


def frozen(tensor: Tensor) -> torch.nn.Parameter:
    """A parameter on the same storage that needs no gradient."""
    return torch.nn.Parameter(tensor.detach(), requires_grad=False)


def logical(module: torch.nn.Module) -> tuple[Tensor, Tensor | None]:
    """(weight (out, in), bias or None) of a torch.nn.Linear or transformers' Conv1D, as views."""
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    if not isinstance(weight, Tensor) or weight.dim() != 2 or not weight.is_floating_point():
        raise TypeError(
            f"expected a linear layer with a floating-point weight, got {type(module).__name__}"
        )
    if isinstance(module, torch.nn.Linear):
        return weight.detach(), None if bias is None else bias.detach()
    if type(module).__name__ == "Conv1D":
        return weight.detach().t(), None if bias is None else bias.detach()
    raise TypeError(f"expected torch.nn.Linear or Conv1D, got {type(module).__name__}")


def shared_linear(weight: Tensor, bias: Tensor | None) -> torch.nn.Linear:
    """A torch.nn.Linear on these tensors: weight (out, in), bias (out,)."""
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = frozen(weight)
    if bias is not None:
        linear.bias = frozen(bias)
    return linear


def new_norm(
    kind: str | None, size: int, eps: float | None, **factory: Any
) -> torch.nn.Module | None:
    """torch.nn.LayerNorm, torch.nn.RMSNorm or None for kind "layer", "rms" or None.

    ValueError for another kind, or without an eps.
    """
    if kind is None:
        return None
    if kind not in ("layer", "rms"):
        raise ValueError(f"norm: expected 'layer', 'rms' or None, got {kind!r}")
    if eps is None:
        raise ValueError(f"eps: a {kind} norm needs the eps of the model that it comes from")
    make = torch.nn.LayerNorm if kind == "layer" else torch.nn.RMSNorm
    return make(size, eps=eps, **factory).requires_grad_(False)


def shared_norm(module: torch.nn.Module | None) -> torch.nn.Module | None:
    """A LayerNorm or RMSNorm on the parameters of ``module``: torch's, or a model's own RMSNorm."""
    if module is None:
        return None
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    eps = getattr(module, "eps", getattr(module, "variance_epsilon", None))
    shape = getattr(module, "normalized_shape", None)
    if weight is None and shape is not None:
        weight = torch.ones(shape)
    if not isinstance(weight, Tensor) or weight.dim() != 1:
        raise TypeError(
            f"expected a norm over the last dimension, with a weight, got {type(module).__name__}"
        )
    if isinstance(module, torch.nn.LayerNorm):
        norm: torch.nn.Module = torch.nn.LayerNorm(
            len(weight), eps=module.eps, bias=bias is not None, device="meta"
        )
    elif bias is None and "rmsnorm" in type(module).__name__.lower():
        eps = torch.finfo(weight.dtype).eps if eps is None else eps
        norm = torch.nn.RMSNorm(len(weight), eps=eps, device="meta")
    else:
        raise TypeError(f"expected a LayerNorm or an RMSNorm, got {type(module).__name__}")
    norm.weight = frozen(weight)
    if bias is not None:
        norm.bias = frozen(bias)
    return norm


def norm_value(module: Any, weight_offset: float = 0.0) -> Norm | None:
    """The norm as ops take it; ``module`` is a torch.nn.LayerNorm, an RMSNorm or None."""
    if module is None:
        return None
    weight = module.weight.detach()
    if isinstance(module, torch.nn.LayerNorm):
        return LayerNorm(weight, None if module.bias is None else module.bias.detach(), module.eps)
    eps = getattr(module, "variance_epsilon", None)
    return RMSNorm(weight, module.eps if eps is None else eps, weight_offset)


def merge(linears: Sequence[torch.nn.Module]) -> tuple[Tensor, Tensor | None]:
    """One weight (sum of out, in) and one bias (zeros where only some have one; None for none)."""
    parts = [logical(linear) for linear in linears]
    if len(parts) == 1:
        return parts[0]
    weight = torch.cat([weight for weight, _ in parts])
    if all(bias is None for _, bias in parts):
        return weight, None
    biases = [weight.new_zeros(len(weight)) if bias is None else bias for weight, bias in parts]
    return weight, torch.cat(biases)
