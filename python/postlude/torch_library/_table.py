"""The prepared copies of weights: made once from a layer's parameters, and found by them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from operator import is_
from typing import Any, NamedTuple

import torch
from torch import Tensor

Tensors = list[Tensor | None]  # that an op is made from, in a fixed order; the first is a weight
Make = Callable[[], tuple[Any, int]]


class Entry(NamedTuple):
    """A bound op, the extra bytes that it holds, and what it was made from."""

    op: Any
    packed_bytes: int
    refs: Sequence[Callable[[], Tensor | None]]
    state: list[Any]
    aliases: list[Tensor]  # so that no address comes back with other values


# By the id of the first tensor, with which the entries die, and by what is bound to it.
_entries: dict[int, dict[Any, Entry]] = {}


def _absent() -> None:
    """Stands for the reference to a tensor that is not there."""


def _state(tensors: Tensors) -> list[Any]:
    """Where the values lie and how often they changed, which torch does not count for tensors made
    under inference_mode."""
    present = [tensor for tensor in tensors if tensor is not None]
    try:
        return [(tensor.data_ptr(), tensor._version) for tensor in present]
    except RuntimeError:
        return [(t.data_ptr(), None if t.is_inference() else t._version) for t in present]


def find(key: Any, tensors: Tensors) -> Entry | None:
    """The entry of this key made from these very tensors, if none has changed since."""
    kept = _entries.get(id(tensors[0]))
    entry = None if kept is None else kept.get(key)
    if entry is None or len(entry.refs) != len(tensors):
        return None
    if not all(map(is_, [ref() for ref in entry.refs], tensors)):
        return None
    return entry if entry.state == _state(tensors) else None


def put(key: Any, tensors: Tensors, entry: Entry) -> None:
    """Keeps an entry under a key, and drops the outdated ones of the same first tensor."""
    first = id(tensors[0])
    kept = _entries.get(first)
    if kept is None:
        weakref.finalize(tensors[0], _entries.pop, first, None).atexit = False
        kept = {}
    current = {k: e for k, e in kept.items() if e.state == _state([ref() for ref in e.refs])}
    _entries[first] = {**current, key: entry}


def add(key: Any, tensors: Tensors, make: Make) -> Entry:
    """A new entry."""
    present = [tensor for tensor in tensors if tensor is not None]
    state, aliases = _state(tensors), [tensor.detach() for tensor in present]
    with torch.no_grad():
        op, packed_bytes = make()
    # Kernels may read weights ahead of time from now on, so what wrote them has to have ended.
    for device in _gpus(tensors):
        torch.cuda.current_stream(device).synchronize()
    refs = [_absent if tensor is None else weakref.ref(tensor) for tensor in tensors]
    entry = Entry(op, packed_bytes, refs, state, aliases)
    put(key, tensors, entry)
    return entry


def add_in_graph(name: str, key: Any, tensors: Tensors, make: Make) -> Entry:
    """``add`` for an operator, which may run where a CUDA graph is warmed up or captured.

    RuntimeError inside a capture. While torch warms a graph up, all that this thread allocates goes
    to the graph's own pool; what the entry holds must not, so another thread makes it.
    """
    devices = _gpus(tensors)
    if not devices:
        return add(key, tensors, make)
    if torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            f"[{name}] a parameter changed, or the layer was never called, before this CUDA graph "
            "capture: call it once outside the capture first"
        )
    for device in devices:
        torch.cuda.current_stream(device).synchronize()
    made: list[Entry] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with torch.cuda.device(next(iter(devices))):
                made.append(add(key, tensors, make))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def forget(tensors: Iterable[Tensor]) -> None:
    """Drops all entries whose first tensor is one of these."""
    for tensor in tensors:
        _entries.pop(id(tensor), None)


def _gpus(tensors: Tensors) -> set[torch.device]:
    return {tensor.device for tensor in tensors if tensor is not None and tensor.is_cuda}
