"""Tune files: the tiles that ``postlude tune`` found faster on one GPU than those that the library
would choose."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ._interop import _C


@contextlib.contextmanager
def tuned(file: str | os.PathLike[str] | None) -> Iterator[None]:
    """Inside, what this thread computes on a GPU takes the tiles of a tune file.

    None: the choices that the library ships. Outside, and in other threads, the file that
    POSTLUDE_TUNE_FILE named when the thread's first call ran counts, or none. A call recorded in a
    CUDA graph keeps its tiles; what jax.jit compiles runs in threads of JAX's, where
    POSTLUDE_TUNE_FILE alone counts. The CPU has nothing to tune: calls there are as without.

    ValueError for a file that is none, and at the first call on a GPU for one of another GPU or
    another version of Postlude, or with a tile that does not run its problem.
    """
    with using(_C.TuneTable() if file is None else _C.TuneTable.read(os.fspath(file))):
        yield


@contextlib.contextmanager
def using(table: _C.TuneTable) -> Iterator[None]:
    """As :func:`tuned`, of a table that has been read."""
    before = _C.exchange_tune_table(table)
    try:
        yield
    finally:
        _C.exchange_tune_table(before)
