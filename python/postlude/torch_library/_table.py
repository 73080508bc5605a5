"""The prepared copies of weights: made once from a layer's parameters, and found by them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

Make = Callable[[], tuple[Any, int]]


class _Entry(NamedTuple):
    """A bound op, the extra bytes that it holds, and the tensors that it was made from."""

    op: Any
    packed_bytes: int
    refs: tuple[weakref.ref[Tensor], ...]
    state: list[tuple[int, int | None]]
    aliases: tuple[Tensor, ...]  # so that no address comes back with other values


# By the id of the first tensor, with which the entries die, and by what is bound to it.
_entries: dict[int, dict[Any, _Entry]] = {}


def _state(tensors: Iterable[Tensor]) -> list[tuple[int, int | None]]:
    return [(t.data_ptr(), None if t.is_inference() else t._version) for t in tensors]


def find(key: Any, tensors: Sequence[Tensor]) -> _Entry | None:
    """The entry of this key made from these very tensors, if none has changed since."""
    kept = _entries.get(id(tensors[0]))
    entry = None if kept is None else kept.get(key)
    if entry is None or len(entry.refs) != len(tensors):
        return None
    for ref, tensor in zip(entry.refs, tensors, strict=True):
        if ref() is not tensor:
            return None
    return entry if entry.state == _state(tensors) else None


def add(key: Any, tensors: Sequence[Tensor], make: Make) -> _Entry:
    """A new entry, in the place of an older one of this key."""
    first = id(tensors[0])
    aliases, state = tuple(tensor.detach() for tensor in tensors), _state(tensors)
    with torch.no_grad():
        op, packed_bytes = make()
    # Kernels may read weights ahead of time from now on, so what wrote them has to have ended.
    for device in {tensor.device for tensor in tensors if tensor.is_cuda}:
        torch.cuda.current_stream(device).synchronize()
    refs = tuple(weakref.ref(tensor) for tensor in tensors)
    entry = _Entry(op, packed_bytes, refs, state, aliases)
    if first not in _entries:
        weakref.finalize(tensors[0], _entries.pop, first, None).atexit = False
    _entries.setdefault(first, {})[key] = entry
    return entry


def add_in_graph(name: str, key: Any, tensors: Sequence[Tensor], make: Make) -> _Entry:
    """``add`` for an operator, which may run where a CUDA graph is warmed up or captured.

    RuntimeError inside a capture. While torch warms a graph up, all that this thread allocates goes
    to the graph's own pool; what the entry holds must not, so another thread makes it.
    """
    devices = {tensor.device for tensor in tensors if tensor.is_cuda}
    if not devices:
        return add(key, tensors, make)
    if torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            f"[{name}] a parameter changed, or the layer was never called, before this CUDA graph "
            "capture: call it once outside the capture first"
        )
    for device in devices:
        torch.cuda.current_stream(device).synchronize()
    results: list[Any] = []

    def work() -> None:
        try:
            with torch.cuda.device(tensors[0].device):
                results.append(add(key, tensors, make))
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(results[0], BaseException):
        raise results[0]
    entry: _Entry = results[0]
    return entry


def forget(tensors: Iterable[Tensor]) -> None:
    """Drops all entries whose first tensor is one of these."""
    for tensor in tensors:
        _entries.pop(id(tensor), None)
