"""Whether a layer is what its kind takes it for, in every part that fusing it depends on."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from ._layer import FusedLayer

# Where the submodules of an unchanged layer come from, besides the layer's own module.
_ORDINARY = ("torch.nn.", "transformers.activations", "transformers.pytorch_utils")
_LINEAR = ("Linear", "Conv1D", "FalconLinear")


def obstacle(layer: Any, kind: type[FusedLayer]) -> str | None:
    """Why ``layer`` cannot be fused as a ``kind``, or None."""
    return (
        _signature(layer, kind)
        or kind.refusal(layer)
        or _classes(layer, kind)
        or _parts(layer, kind)
        or _changed(layer, kind)
    )


def _signature(layer: torch.nn.Module, kind: type[FusedLayer]) -> str | None:
    named = [
        name
        for name, parameter in inspect.signature(type(layer).forward).parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    if named == ["self", "hidden_states", *kind.ARGUMENTS]:
        return None
    return f"{type(layer).__name__}.forward has another signature than the one known"


def _classes(layer: torch.nn.Module, kind: type[FusedLayer]) -> str | None:
    model = kind.model(layer)
    for path, known in kind.PARTS.modules.items():
        found = type(layer.get_submodule(path)).__name__
        if found != f"{model}{known}":
            return f"{path} is a {found}"
    return None


def _parts(layer: torch.nn.Module, kind: type[FusedLayer]) -> str | None:
    """The parts are all there, each of the kind known, and nothing else has parameters."""
    present: dict[str, Any] = dict(layer.named_modules())
    fused, kept = kind.PARTS.fused, kind.kept(layer)
    for path in (*fused, kind.PARTS.activation):
        if path not in present:
            return f"it has no {path}"
    for path, module in present.items():
        own = [p for p in module._parameters.values() if p is not None]
        if path in fused:
            norms = ("LayerNorm", f"{kind.model(layer)}{kind.NORM}")
            if type(module).__name__ not in (norms if path in kind.PARTS.norms else _LINEAR):
                return f"{path} is a {type(module).__name__}"
            if any(type(p) is not torch.nn.Parameter for p in own):
                return f"{path} has parameters of a special kind"
        elif own and not _within(path, kept):
            return f"{path or 'the layer'} has parameters that are not known"
    return several_dtypes({path: present[path] for path in fused if path not in kind.PARTS.norms})


def several_dtypes(linears: dict[str, Any]) -> str | None:
    """That the weights of these layers, by their paths, are not all of one dtype, or None."""
    first, *others = ((path, linear.weight.dtype) for path, linear in linears.items())
    for path, dtype in others:
        if dtype != first[1]:
            return f"weights of several dtypes: {first[0]} has {first[1]}, {path} has {dtype}"
    return None


def _changed(layer: torch.nn.Module, kind: type[FusedLayer]) -> str | None:
    """Nobody put other code into the layer."""
    kept = kind.kept(layer)
    for path, module in layer.named_modules():
        if _within(path, kept):
            continue
        if not type(module).__module__.startswith((type(layer).__module__, *_ORDINARY)):
            return f"{path} is a {type(module).__module__}.{type(module).__name__}"
        if "forward" in module.__dict__:
            return f"{path or 'the layer'} has a forward of its own (set on the instance)"
        on_attention = path == kind.PARTS.attention
        if module is not layer and any(_foreign(hook, on_attention) for hook in _hooks(module)):
            return f"{path} has hooks, which would no longer run"
    return None


def _within(path: str, kept: dict[str, str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in kept)


def _hooks(module: torch.nn.Module) -> list[Any]:
    tables = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    return [hook for table in tables for hook in table.values()]


def _foreign(hook: Any, on_attention: bool) -> bool:
    # transformers records attention weights with a hook on the attention module, which still runs.
    own = getattr(hook, "__module__", "") == "transformers.utils.output_capturing"
    return not (own and on_attention)
