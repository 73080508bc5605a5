"""How a module of a model becomes a fused one and back: it stays, and takes another ``forward``.

The module's class is exchanged, on that one object, for a subclass of it with another ``forward``.
So the parameters, the submodules, the keys of the state_dict, hooks on a layer, ``isinstance`` and
every reference to the module stay as they were, and undoing it is exact.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import torch
from torch import Tensor


class Swapped(torch.nn.Module):
    """Base of the classes that take the place of a module's own; ``_original`` is that class."""

    OWN: ClassVar[tuple[str, ...]] = ()  # the attributes that the fused module adds
    _original: ClassVar[type]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__

    def __reduce_ex__(self, protocol: Any) -> Any:
        # The class is made at run time and cannot be found by name: say how to make it.
        mixin = next(base for base in type(self).__bases__ if issubclass(base, Swapped))
        return _blank, (mixin, self._original), self.__getstate__()


class Done(Swapped):
    """A projection whose product the fused layer makes: the input holds the result already.

    It stands at ``columns``, (start, length), of the input's last dimension, or is all of it.
    """

    OWN = ("columns",)
    columns: tuple[int, int] | None

    def forward(self, x: Tensor) -> Tensor:
        """x (*, all columns) -> a view (*, out)."""
        return x if self.columns is None else x.narrow(-1, *self.columns)

    __call__ = forward  # without the way of a module's call, which costs more than a view


def exchange(module: Any, mixin: Any) -> None:
    """Gives ``module`` the ``forward`` of ``mixin``, a Swapped."""
    module.__class__ = _class(mixin, module.__class__)


def give_back(module: torch.nn.Module) -> None:
    """Undoes ``exchange``; does nothing to another module."""
    if isinstance(module, Swapped):
        for name in module.OWN:
            module.__dict__.pop(name, None)
        module.__class__ = module._original


@functools.cache
def _class(mixin: type, original: type) -> Any:
    return type(f"Fused{original.__name__}", (mixin, original), {"_original": original})


def _blank(mixin: type, original: type) -> Any:
    cls = _class(mixin, original)
    return cls.__new__(cls)
