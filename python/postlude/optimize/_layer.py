"""What every fused layer of a model is: where its parts are, how it is called, fused and restored.

The attention module of a layer keeps its own ``forward``, and with it the rotation, the norms of
the heads, the cache and the attention implementation of the model. Only its projections stand
still: the input that it gets already holds q, k and v, and what it returns is the context, which
the fused layer projects.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..nn import _parts
from ..nn._bound import Bound
from ..torch_library._bound import PREPARE, Maker
from ._bind import Binder
from ._swap import Done, Swapped, exchange, give_back


@dataclass(frozen=True)
class Parts:
    """Where a layer keeps its parts: paths of submodules, from the layer on."""

    attention: str = ""
    qkv: tuple[str, ...] = ()  # one module, or those of q, k and v in this order
    project: str = ""
    mlp: tuple[str, ...] = ()  # up, or gate and up, in one module or two
    gated: bool = False
    activation: str = ""
    down: str = ""
    norms: tuple[str, ...] = ()
    modules: Mapping[str, str] = field(default_factory=dict)  # the ends of their classes' names
    kept: Mapping[str, str] = field(default_factory=dict)  # what runs as it is, and why

    @property
    def fused(self) -> tuple[str, ...]:
        """The submodules whose parameters the fused operations read."""
        every = (*self.qkv, self.project, *self.mlp, self.down, *self.norms)
        return tuple(path for path in every if path)


class FusedLayer(Bound, Swapped):
    """A layer that runs bound ops on its own parameters.

    The forms in ``_forms.py`` write ``_ops`` and ``_finish``, a family of models names the rest.
    """

    OWN = ("_binding", "quantize", "_batch_invariant", "_weights_static", "_allow_tf32")

    PARTS: ClassVar[Parts]
    SUFFIX: ClassVar[str]  # what the name of the layer's class has behind the model's
    NORM: ClassVar[str] = "LayerNorm"  # and of the norms; torch.nn.LayerNorm is one in any case
    OFFSET: ClassVar[float] = 0.0  # what an RMSNorm adds to its weight
    ARGUMENTS: ClassVar[tuple[str, ...]]  # the names that ``forward`` has after hidden_states
    UNUSED: ClassVar[tuple[str, ...]] = ()  # those of them that the attention does not get
    FUSES: ClassVar[tuple[str, ...]]  # the operations, as the Report names them
    RETURNS_WEIGHTS: ClassVar[bool] = False  # (y, attention weights) instead of y

    quantize: str | None = None
    _defaults: ClassVar[dict[str, Any]]  # of the arguments of the original forward
    _path: ClassVar[list[str]]  # to the attention

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        original = cls.__dict__.get("_original")
        if original is not None:
            given = list(inspect.signature(original.forward).parameters.values())[2:]
            cls._defaults = {
                each.name: each.default for each in given if each.default is not each.empty
            }
            cls._path = cls.PARTS.attention.split(".")

    # About the original layer, before it is fused

    @classmethod
    def choose(cls, layer: Any) -> type[FusedLayer]:
        """The kind that computes what this layer computes, by its attributes."""
        return cls

    @classmethod
    def refusal(cls, layer: Any) -> str | None:
        """Why a layer of this family cannot be fused, by its attributes, or None."""
        return None

    @classmethod
    def model(cls, layer: Any) -> str:
        """The name of the model in the names of its classes."""
        return type(layer).__name__.removesuffix(cls.SUFFIX)

    @classmethod
    def kept(cls, layer: torch.nn.Module) -> dict[str, str]:
        """The submodules with parameters that the fused layer calls as they are, and why."""
        present = dict(layer.named_modules())
        return {path: reason for path, reason in cls.PARTS.kept.items() if path in present}

    @classmethod
    def products(cls) -> tuple[tuple[str, ...], ...]:
        """The projections inside the attention that stand still, those of one input together."""
        return (cls.PARTS.qkv, (cls.PARTS.project,)) if cls.PARTS.attention else ()

    @classmethod
    def operations(cls) -> tuple[str, ...]:
        """What the Report says of the layer."""
        mlp = "gated MLP" if cls.PARTS.gated else "MLP"
        return tuple(text.format(mlp=mlp) for text in cls.FUSES)

    # The fused layer

    def _ops(self, bind: Binder) -> Any:
        """The bound ops; ``qkv`` among them."""
        raise NotImplementedError

    def _finish(self, run: Any, context: Tensor, x: Tensor) -> Tensor:
        """From the attention's context and the layer's input to its output."""
        raise NotImplementedError

    def _passed(self, run: Any, given: dict[str, Any]) -> dict[str, Any]:
        """The arguments of the attention, besides its input, from those of the layer."""
        return {name: value for name, value in given.items() if name not in self.UNUSED}

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """hidden_states (batch, tokens, hidden) -> the same; the arguments of the original."""
        if len(args) > len(self.ARGUMENTS):
            raise TypeError(
                f"[{type(self).__name__}] expected at most {len(self.ARGUMENTS)} arguments after "
                f"hidden_states, got {len(args)}"
            )
        if hidden_states.stride(-1) != 1:  # a transposed convolution, as in the kin of ViT
            hidden_states = hidden_states.contiguous()
        run = self._start(hidden_states)
        given = {**self._defaults, **dict(zip(self.ARGUMENTS, args, strict=False)), **kwargs}
        attention: Any = self
        for name in self._path:
            attention = attention._modules[name]
        context, *weights = attention(run.qkv(hidden_states), **self._passed(run, given))
        y = self._finish(run, context, hidden_states)
        return (y, *weights) if self.RETURNS_WEIGHTS else y

    def _make(self, make: Maker = PREPARE) -> tuple[Any, int]:
        bind = Binder(make, self.OFFSET, {"quantize": self.quantize, **self._op_options()})
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


def fuse(layer: Any, kind: type[FusedLayer], quantize: str | None) -> None:
    """Turns ``layer`` into a ``kind`` and binds its ops, or raises and leaves it as it was."""
    exchange(layer, kind)
    layer.quantize = quantize
    try:
        for paths in kind.products():
            _stand_still([layer.get_submodule(path) for path in paths])
        layer._bind()
    except BaseException:
        restore(layer)
        raise


def _stand_still(projections: list[torch.nn.Module]) -> None:
    start = 0
    for module in projections:
        length = len(_parts.logical("optimize", module)[0])
        exchange(module, Done)
        module.columns = (start, length) if len(projections) > 1 else None  # type: ignore
        start += length


def restore(layer: torch.nn.Module) -> None:
    """Undoes ``fuse``; does nothing to a layer that is not fused."""
    if isinstance(layer, FusedLayer):
        layer.refresh()
        for module in list(layer.modules()):
            give_back(module)


_DROPOUT = ("attention_dropout", "dropout", "hidden_dropout")


def _drops(module: torch.nn.Module) -> bool:
    values = [module.p if isinstance(module, torch.nn.Dropout) else 0.0]
    values += [getattr(module, name, 0.0) for name in _DROPOUT]
    return any(isinstance(p, float) and p > 0.0 for p in values)
