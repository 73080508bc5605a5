"""The ordinary torch modules inside the fused layers: new, or on the storage of a model's own.

The first argument of what may refuse its arguments is the name that the error begins with.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..norms import LayerNorm, RMSNorm
from ..torch_library._bound import Source

Norm = LayerNorm | RMSNorm


def frozen(tensor: Tensor) -> torch.nn.Parameter:
    """A parameter on the same storage that needs no gradient."""
    return torch.nn.Parameter(tensor.detach(), requires_grad=False)


def _is_transposed(op: str, module: torch.nn.Module) -> bool:
    """Whether a linear layer stores (in, out), as transformers' Conv1D does; TypeError for no
    linear layer."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() != 2 or not weight.is_floating_point():
        raise TypeError(
            f"[{op}] module: expected a linear layer with a floating-point weight, got "
            f"{type(module).__name__}"
        )
    if isinstance(module, torch.nn.Linear):
        return False
    if any(base.__name__ == "Conv1D" for base in type(module).__mro__):
        return True
    raise TypeError(
        f"[{op}] module: expected torch.nn.Linear or Conv1D, got {type(module).__name__}"
    )


def logical(op: str, module: Any) -> tuple[Tensor, Tensor | None]:
    """(weight (out, in), bias or None) of a torch.nn.Linear or transformers' Conv1D, as views."""
    transposed = _is_transposed(op, module)
    weight, bias = module.weight.detach(), module.bias
    return weight.t() if transposed else weight, None if bias is None else bias.detach()


def shared_linear(weight: Tensor, bias: Tensor | None) -> torch.nn.Linear:
    """A torch.nn.Linear on these tensors: weight (out, in), bias (out,)."""
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    linear.weight = frozen(weight)
    if bias is not None:
        linear.bias = frozen(bias)
    return linear


def new_norm(
    op: str, kind: str | None, size: int, eps: float | None, **factory: Any
) -> torch.nn.Module | None:
    """torch.nn.LayerNorm, torch.nn.RMSNorm or None for kind "layer", "rms" or None.

    ValueError for another kind, or without an eps.
    """
    if kind is None:
        return None
    if kind not in ("layer", "rms"):
        raise ValueError(f"[{op}] norm: expected 'layer', 'rms' or None, got {kind!r}")
    if eps is None:
        raise ValueError(
            f"[{op}] eps: expected that of the model which the {kind} norm comes from, got None"
        )
    make = torch.nn.LayerNorm if kind == "layer" else torch.nn.RMSNorm
    return make(size, eps=eps, **factory).requires_grad_(False)


def shared_norm(op: str, module: torch.nn.Module | None) -> torch.nn.Module | None:
    """A LayerNorm or RMSNorm on the parameters of ``module``: torch's, or a model's own RMSNorm."""
    if module is None:
        return None
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    layer, kind = isinstance(module, torch.nn.LayerNorm), type(module).__name__
    shape = tuple(getattr(module, "normalized_shape", () if weight is None else weight.shape))
    if len(shape) != 1 or not (layer or (bias is None and "rmsnorm" in kind.lower())):
        raise TypeError(
            f"[{op}] norm: expected a LayerNorm or an RMSNorm over the last dimension, got {kind}"
        )
    norm: torch.nn.Module
    if layer:
        norm = torch.nn.LayerNorm(shape, eps=_eps(module), elementwise_affine=False)
    else:
        norm = torch.nn.RMSNorm(shape, eps=_eps(module), elementwise_affine=False)
    for name, value in (("weight", weight), ("bias", bias)):
        norm.register_parameter(name, None if value is None else frozen(value))
    return norm


def norm_value(module: Any, weight_offset: float = 0.0) -> Norm | None:
    """The norm as ops take it; ``module`` is a torch.nn.LayerNorm, an RMSNorm or None."""
    if module is None:
        return None
    if isinstance(module, torch.nn.LayerNorm):
        return LayerNorm(module.weight, module.bias, module.eps)
    return RMSNorm(module.weight, _eps(module), weight_offset)


def _eps(module: Any) -> float:
    eps: float | None = getattr(module, "variance_epsilon", None)
    eps = module.eps if eps is None else eps
    return torch.finfo(module.weight.dtype).eps if eps is None else eps


def source(op: str, *linears: torch.nn.Module) -> Source:
    """The parameters of linear layers whose outputs stand side by side, as they are.

    TypeError where one is no linear layer, or where some but not all are Conv1D.
    """
    transposed = [_is_transposed(op, linear) for linear in linears]
    if any(transposed) != all(transposed):
        raise TypeError(f"[{op}] module: expected torch.nn.Linear or Conv1D alone, got both")
    parts: list[Any] = list(linears)
    return Source([part.weight for part in parts], [part.bias for part in parts], transposed[0])
