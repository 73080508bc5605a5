"""Files that several processes write: replaced as a whole, by turns."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_SUFFIX = ".tmp"


def replace_file(path: Path, text: str, mode: int = 0o600) -> None:
    """Writes a file anew: a reader, and one who comes after a crash, sees the old one or this.

    It is written beside the old one, to the disk, and then renamed. OSError where that fails; the
    old one stays.
    """
    handle, name = tempfile.mkstemp(prefix=_prefix(path), suffix=_SUFFIX, dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    _sync_directory(path.parent)


def remove_left_over(path: Path) -> None:
    """Removes what writers of ``path`` that were killed have left beside it. Only for one whose
    turn it is: see :func:`turn`."""
    for file in path.parent.iterdir():
        if file.name.startswith(_prefix(path)) and file.name.endswith(_SUFFIX):
            with contextlib.suppress(OSError):
                file.unlink()


def _prefix(path: Path) -> str:
    return f".{path.name}."


def _sync_directory(directory: Path) -> None:
    """The rename itself goes to the disk, where the system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def turn(lock: Path, seconds: float, *, required: bool) -> Iterator[None]:
    """Inside, no other process that asks for the same ``lock``, a file which stays, is inside.

    After so many seconds of waiting, or where locks do not work: with ``required`` OSError, else it
    goes on without.
    """
    with open(lock, "ab") as file:
        reason = _lock(file.fileno(), seconds)
        if reason and required:
            raise OSError(f"{lock} cannot be locked: {reason}")
        yield  # closing the file lets the next one in


def _lock(descriptor: int, seconds: float) -> str:
    """Why there is no lock, or an empty string."""
    try:
        import fcntl
    except ImportError:
        return "this system has no POSIX locks"
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return ""
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return f"another process has held it for {seconds:g} seconds"
            time.sleep(0.01)
        except OSError as error:
            return f"its file system says {error}"
