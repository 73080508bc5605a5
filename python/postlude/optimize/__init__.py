"""optimize(model): fuses the layers of a Hugging Face model, on its own parameters, in one call."""

from __future__ import annotations

import sys
import types
from collections.abc import Container
from typing import Any

import torch

from . import bert, bloom, falcon, gemma, gpt2, gptj, llama, mixtral, neox, opt, t5, vit
from ._check import obstacle
from ._layer import FusedLayer, fuse
from .report import Fused, Report, Skipped

__all__ = ["Fused", "Report", "Skipped", "optimize"]

_FAMILIES = (bert, bloom, falcon, gemma, gpt2, gptj, llama, mixtral, neox, opt, t5, vit)
# By the name of the layer's class.
KINDS = {name: kind for family in _FAMILIES for name, kind in family.LAYERS.items()}


def optimize(
    model: torch.nn.Module, *, quantize: str | None = None, strict: bool = False
) -> Report:
    """Fuses every layer of a known kind inside ``model``, in place, and reports what was done; see
    ``Report``.

    Known are the layers of Hugging Face transformers 5 that ``KINDS`` names, wherever they stand in
    the module tree: of BERT, RoBERTa and their kin, ViT, CLIP, T5, GPT-2, GPT-J, GPT-NeoX, OPT,
    BLOOM, Falcon, Llama, Mistral, Qwen2, Qwen3, Phi-3 and Gemma, and of Mixtral all but the
    experts. In each, the query, key and value projections become one product (with the norm before
    them), the attention output projection adds the residual, and the feed-forward block is one
    call.
    The parameters, the keys of the state_dict, the caches and the attention implementation stay as
    they are; only this instance changes. The layers then run for inference only.

    quantize="int8" computes these products with int8 copies of the weights, one scale to an output
    row.

    A layer of another kind, or one that cannot be fused without changing what it computes, is left
    alone and listed in ``Report.skipped``; strict=True then raises ``postlude.Unsupported`` and
    leaves the model as it was. A second call does nothing more, and its Report can revert too (that
    of a deepcopy, say). TypeError: ``model`` is no module. ValueError: another ``quantize``.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"[optimize] model: expected a torch.nn.Module, got {type(model).__name__}")
    if quantize not in (None, "int8"):
        raise ValueError(f"[optimize] quantize: expected None or 'int8', got {quantize!r}")
    report = Report(type(model).__name__, quantize)
    before = {layer for layer in model.modules() if isinstance(layer, FusedLayer)}
    closed: tuple[str, ...] = ()  # what stands in there is left alone
    for path, layer in list(model.named_modules()):
        if path.startswith(closed):
            continue
        if _is(layer, t5.BLOCKS):
            reason = t5.obstacle(layer)
            if reason is not None:
                report.skipped.append(Skipped(path, reason))
                closed = (*closed, f"{path}.")
            continue
        kind = KINDS[type(layer).__name__] if _is(layer, KINDS) else None
        if layer in before or kind is not None:
            reason = _fuse_layer(layer, kind, quantize)
            if reason is None:
                kept = tuple(layer.kept(layer).items())
                report.fused.append(Fused(path, layer.operations(), kept))
                report.layers.append(layer)
            else:
                report.skipped.append(Skipped(path, reason))
        elif _unknown_layer(layer):
            report.skipped.append(Skipped(path, f"a {type(layer).__name__}, of unknown structure"))
    if not report.fused and not report.skipped:
        known = ", ".join(KINDS)
        report.skipped.append(Skipped("", f"no layer of a known kind: {known} of transformers"))
    report.outside += _outside(model, report)
    if strict and report.skipped:
        message = f"[optimize] not everything could be fused\n{report}"
        report.layers = [layer for layer in report.layers if layer not in before]
        report.revert()
        from .. import Unsupported

        raise Unsupported(message)
    return report


def _outside(model: torch.nn.Module, report: Report) -> list[Skipped]:
    """The modules with parameters of their own that stand in no layer of the report."""
    paths = [item.path for item in report.fused] + [item.path for item in report.skipped]
    layers = tuple(f"{path}." for path in paths if path)
    return [
        Skipped(path, f"a {type(module).__name__} outside the layers")
        for path, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
        and not f"{path}.".startswith(layers)
    ]


def _is(layer: torch.nn.Module, names: Container[str]) -> bool:
    kind = type(layer)
    return kind.__module__.startswith("transformers.models.") and kind.__name__ in names


def _unknown_layer(module: torch.nn.Module) -> bool:
    # The base of every layer that a model of transformers repeats.
    return any(base.__name__ == "GradientCheckpointingLayer" for base in type(module).__mro__)


def _fuse_layer(layer: Any, kind: Any, quantize: str | None) -> str | None:
    """Fuses the layer, or leaves it alone and says why."""
    if isinstance(layer, FusedLayer):
        same = layer.quantize == quantize
        return None if same else f"already fused with quantize={layer.quantize!r}"
    reason: str | None
    try:
        kind = kind.choose(layer)
        reason = obstacle(layer, kind)
    except AttributeError as error:  # a part that layers of this kind have
        reason = f"of unknown structure: {error}"
    if reason is None:
        try:
            fuse(layer, kind, quantize)
        except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error)
    return reason


class _CallableModule(types.ModuleType):
    """This module, callable: the name ``postlude.optimize`` means both it and the function."""

    def __call__(
        self, model: torch.nn.Module, *, quantize: str | None = None, strict: bool = False
    ) -> Report:
        return optimize(model, quantize=quantize, strict=strict)


sys.modules[__name__].__class__ = _CallableModule
