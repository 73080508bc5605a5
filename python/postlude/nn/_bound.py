"""Modules that bind an op to their parameters once, and again only when a parameter has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._interop import _C
from ..torch_library import _table
from ..torch_library._bound import PREPARE, TRACE, Maker, refuse_grad
from ..torch_library._traced import is_traced

_is_compiling = torch.compiler.is_compiling


class Slot(NamedTuple):
    """A place where a parameter or a submodule stood when the op was bound.

    The core's ``changed`` reads the fields of this and of ``Content`` by their places.
    """

    table: dict[str, Any]
    name: str
    value: Any


class Content(NamedTuple):
    """A parameter as it was when the op was bound; version is None where torch keeps none.

    ``alias`` keeps its memory, so that the same address cannot come back with other values.
    """

    tensor: Tensor
    version: int | None
    pointer: int
    alias: Tensor


class Binding(NamedTuple):
    """A bound op (or several), the extra bytes it holds, and all that it was made from."""

    op: Any
    packed_bytes: int
    slots: tuple[Slot, ...]
    contents: tuple[Content, ...]


class Bound(torch.nn.Module):
    """Base of the fused modules: ``forward`` takes its op from ``_ready``, and ``_make`` makes it.

    The op is made again when a parameter or a submodule has changed. A parameter has changed when
    another one stands in its place, or when its data pointer or its version differs. A write
    through ``parameter.data``, or to a tensor made under ``torch.inference_mode()``, leaves no
    trace: call ``refresh()`` after it.
    """

    _binding: Binding | None = None
    _batch_invariant: bool = False
    _weights_static: bool = True
    _allow_tf32: bool = False

    def _make(self, make: Maker = PREPARE) -> tuple[Any, int]:
        """The op made from the present parameters, and the extra bytes that it holds.

        With ``TRACE`` it is what stands for the op in a graph.
        """
        raise NotImplementedError

    def _slots(self) -> Iterator[Slot]:
        """The places that the op is made from."""
        for module in self.modules():
            for table in (module._parameters, module._modules):
                yield from (Slot(table, name, value) for name, value in table.items())

    @property
    def batch_invariant(self) -> bool:
        """Whether row i of the result has the same bits whatever the number of rows is."""
        return self._batch_invariant

    @batch_invariant.setter
    def batch_invariant(self, value: bool) -> None:
        self._batch_invariant = bool(value)
        self.refresh()

    @property
    def weights_static(self) -> bool:
        """Whether kernels may read weights ahead of time, as ``weights_static`` of the ops says."""
        return self._weights_static

    @weights_static.setter
    def weights_static(self, value: bool) -> None:
        self._weights_static = bool(value)
        self.refresh()

    @property
    def allow_tf32(self) -> bool:
        """Whether products of float32 may be one TF32 product on a GPU, as the ops say."""
        return self._allow_tf32

    @allow_tf32.setter
    def allow_tf32(self, value: bool) -> None:
        self._allow_tf32 = bool(value)
        self.refresh()

    def _op_options(self) -> dict[str, Any]:
        """What every op of the module is bound with."""
        return {
            "batch_invariant": self.batch_invariant,
            "weights_static": self.weights_static,
            "allow_tf32": self.allow_tf32,
        }

    def _set_op_options(
        self, batch_invariant: bool, weights_static: bool, allow_tf32: bool
    ) -> None:
        self._batch_invariant, self._weights_static = batch_invariant, weights_static
        self._allow_tf32 = allow_tf32

    @property
    def packed_bytes(self) -> int:
        """Bytes held besides the parameters by the bound copy: 0 before the first call."""
        return 0 if self._binding is None else self._binding.packed_bytes

    def refresh(self) -> None:
        """Forgets the bound copy; the next call makes it again from the parameters."""
        self._binding = None
        _table.forget(self.parameters())

    def _ready(self, x: Tensor) -> Any:
        """The op for the present parameters; RuntimeError where autograd would need a gradient."""
        if _is_compiling() and is_traced(x):  # then the operators refuse gradients
            return self._make(TRACE)[0]
        binding = self._binding
        if binding is None or _C.changed(binding.slots, binding.contents):
            binding = self._bind()
        if torch.is_grad_enabled():
            refuse_grad(type(self).__name__, [x], (content.tensor for content in binding.contents))
        return binding.op

    def _bind(self) -> Binding:
        if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
            raise RuntimeError(
                f"[{type(self).__name__}] a parameter changed, or the module was never called, "
                "before this CUDA graph capture: call it once outside the capture first"
            )
        slots = tuple(self._slots())
        contents = tuple(_content(value) for _, _, value in slots if isinstance(value, Tensor))
        with torch.no_grad():
            binding = Binding(*self._make(), slots, contents)
        self._binding = binding
        return binding

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        self.refresh()
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_binding"}


def _content(tensor: Tensor) -> Content:
    version = None if tensor.is_inference() else tensor._version
    return Content(tensor, version, tensor.data_ptr(), tensor.detach())
