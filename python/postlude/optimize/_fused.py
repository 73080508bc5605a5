"""How a layer of a model becomes a fused one and back: it stays, and takes another ``forward``.

The layer's class is exchanged, on that one object, for a subclass of it that runs fused operations.
So the parameters, the submodules, the keys of the state_dict, hooks on the layer, ``isinstance``
and every reference to the layer stay as they were, and undoing it is exact.
"""

from __future__ import annotations

import functools
import inspect
import sys
from typing import Any, ClassVar

import torch
from torch import Tensor

from .. import ops
from ..nn import _parts
from ..nn._bound import Bound
from ..torch_library._bound import PREPARE, Maker


class Swapped(torch.nn.Module):
    """Base of the classes that take the place of a layer's own; ``_original`` is that class."""

    _original: ClassVar[type]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__

    def __reduce_ex__(self, protocol: Any) -> Any:
        # The class is made at run time and cannot be found by name: say how to make it.
        mixin = next(base for base in type(self).__bases__ if issubclass(base, Swapped))
        return _blank, (mixin, self._original), self.__getstate__()


class AttentionCore(Swapped):
    """The attention of a layer without its projections: merged q, k and v in, the context out."""

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, **options: Any
    ) -> tuple[Tensor, Tensor | None]:
        """The context (batch, tokens, heads * head_dim) by the attention that the config names."""
        source: Any = sys.modules[self._original.__module__]
        config: Any = self.config
        attention = source.ALL_ATTENTION_FUNCTIONS.get_interface(
            config._attn_implementation, source.eager_attention_forward
        )
        context, weights = attention(
            self, q, k, v, mask, dropout=0.0, scaling=self.scaling, **options
        )
        return context.reshape(*context.shape[:-2], -1), weights


class FusedLayer(Bound, Swapped):
    """A layer that runs bound ops on its own parameters; subclasses write ``forward``, ``_ops``."""

    FUSES: ClassVar[tuple[str, ...]]
    CORE: ClassVar[Any]
    quantize: str | None = None

    @classmethod
    def core(cls, layer: Any) -> torch.nn.Module:
        """The attention module of a layer, whose class becomes ``CORE``."""
        raise NotImplementedError

    @classmethod
    def kept(cls, layer: Any) -> dict[str, str]:
        """The submodules with parameters that the fused layer calls as they are, and why."""
        return {}

    def _ops(self, bind: Binder) -> Any:
        """The bound ops that ``forward`` uses."""
        raise NotImplementedError

    def _make(self, make: Maker = PREPARE) -> tuple[Any, int]:
        bind = Binder(make, {"quantize": self.quantize, **self._op_options()})
        bound = self._ops(bind)
        return bound, bind.packed_bytes

    def _start(self, hidden_states: Tensor) -> Any:
        """The bound ops; RuntimeError where autograd would need a gradient or dropout would act."""
        if self.training and any(_drops(module) for module in self.modules()):
            raise RuntimeError(
                f"[{type(self).__name__}] the model is in training mode with dropout, and this "
                "layer is for inference only: call model.eval(), or revert() of the Report"
            )
        return self._ready(hidden_states)


class Binder:
    """Makes the bound ops of a layer from its modules, and counts the bytes that they hold."""

    def __init__(self, make: Maker, options: dict[str, Any]) -> None:
        self.make = make
        self.options = options  # of every op
        self.packed_bytes = 0

    def linear(self, module: torch.nn.Module) -> ops.Linear:
        """x W^T + bias (+ residual)."""
        return self._count(self.make.linear(_parts.source(module), **self.options))

    def qkv(self, *modules: torch.nn.Module, norm: torch.nn.Module | None = None) -> ops.Qkv:
        """The projections of ``modules``, one or several side by side, of norm(x)."""
        source = _parts.source(*modules)
        return self._count(self.make.qkv(source, norm=_parts.norm_value(norm), **self.options))

    def mlp(
        self,
        *inputs: torch.nn.Module,
        down: torch.nn.Module,
        activation: torch.nn.Module,
        norm: torch.nn.Module | None = None,
        gated: bool = False,
    ) -> ops.Mlp:
        """x + down(act(inputs(norm(x)))); gated inputs are gate and up, in one module or two."""
        made = self.make.mlp(
            _parts.source(*inputs),
            _parts.source(down),
            activation=_activation_name(activation),
            gated=gated,
            norm=_parts.norm_value(norm),
            **self.options,
        )
        return self._count(made)

    def _count(self, made: tuple[Any, int]) -> Any:
        op, packed_bytes = made
        self.packed_bytes += packed_bytes
        return op


def fuse(layer: Any, kind: Any, quantize: str | None) -> None:
    """Turns ``layer`` into a ``kind`` and binds its ops, or raises and leaves it as it was."""
    core = kind.core(layer)
    core.__class__ = _class(kind.CORE, core.__class__)
    layer.__class__ = _class(kind, layer.__class__)
    layer.quantize = quantize
    try:
        layer._bind()
    except BaseException:
        restore(layer)
        raise


def restore(layer: torch.nn.Module) -> None:
    """Undoes ``fuse``; does nothing to a layer that is not fused."""
    if not isinstance(layer, FusedLayer):
        return
    layer.refresh()
    for module in (layer.core(layer), layer):
        assert isinstance(module, Swapped)
        module.__class__ = module._original
    for name in ("_binding", "quantize", "_batch_invariant", "_weights_static"):
        layer.__dict__.pop(name, None)


# Where the submodules of an unchanged layer come from, besides the layer's own module.
_ORDINARY = ("torch.nn.", "transformers.activations", "transformers.pytorch_utils")


def obstacle(layer: torch.nn.Module, kind: type[FusedLayer]) -> str | None:
    """Why ``layer`` cannot be fused, whatever its family, or None: hooks, or foreign code."""
    if _signature(layer) != list(inspect.signature(kind.forward).parameters):
        return f"{type(layer).__name__}.forward has another signature than the one known"
    core, kept = kind.core(layer), kind.kept(layer)
    for name, module in layer.named_modules():
        if name in kept:
            continue
        if not type(module).__module__.startswith((type(layer).__module__, *_ORDINARY)):
            return f"{name} is a {type(module).__module__}.{type(module).__name__}"
        if "forward" in module.__dict__:
            return f"{name or 'the layer'} has a forward of its own (set on the instance)"
        if module is not layer and any(_foreign(hook, module is core) for hook in _hooks(module)):
            return f"{name} has hooks, which would no longer run"
    return None


def plain(layer: torch.nn.Module, *paths: str, norm: str = "LayerNorm") -> str | None:
    """Why one of the submodules is no ordinary linear layer or ``norm``, or None."""
    for path in paths:
        module = layer.get_submodule(path)
        if type(module).__name__ not in ("Linear", "Conv1D", norm):
            return f"{path} is a {type(module).__name__}"
        if any(
            type(p) is not torch.nn.Parameter for p in module._parameters.values() if p is not None
        ):
            return f"{path} has parameters of a special kind"
    return None


# The exact classes of transformers.activations (and torch.nn) that compute each activation.
_ACTIVATIONS = {
    "GELUActivation": "gelu_erf",
    "NewGELUActivation": "gelu_tanh",
    "FastGELUActivation": "gelu_tanh",
    "GELUTanh": "gelu_tanh",
    "QuickGELUActivation": "quick_gelu",
    "ReLUSquaredActivation": "relu2",
    "SiLUActivation": "silu",
    "SiLU": "silu",
    "ReLU": "relu",
}


def _activation_name(act: Any) -> str:
    if type(act) is torch.nn.GELU:
        return "gelu_tanh" if act.approximate == "tanh" else "gelu_erf"
    if type(act).__name__ not in _ACTIVATIONS:
        raise ValueError(f"unknown activation {act}")
    return _ACTIVATIONS[type(act).__name__]


def _drops(module: torch.nn.Module) -> bool:
    p = (
        module.p
        if isinstance(module, torch.nn.Dropout)
        else getattr(module, "attention_dropout", 0.0)
    )
    return isinstance(p, float) and p > 0.0


def _signature(layer: torch.nn.Module) -> list[str]:
    return list(inspect.signature(type(layer).forward).parameters)


def _hooks(module: torch.nn.Module) -> list[Any]:
    tables = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    return [hook for table in tables for hook in table.values()]


def _foreign(hook: Any, on_core: bool) -> bool:
    # transformers records attention weights with a hook on the attention module, which still runs.
    return not (
        on_core and getattr(hook, "__module__", "") == "transformers.utils.output_capturing"
    )


@functools.cache
def _class(mixin: type, original: type) -> Any:
    return type(f"Fused{original.__name__}", (mixin, original), {"_original": original})


def _blank(mixin: type, original: type) -> Any:
    cls = _class(mixin, original)
    return cls.__new__(cls)
