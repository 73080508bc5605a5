"""The table of tuned choices on disk: one JSON file, shared by processes and never required.

The file is replaced as a whole, by a rename, whenever something has been tuned: a reader sees the
old table or the new one. Writers take turns by a lock file, so that none drops what another has
just added. A directory that cannot be written, or a file that is no table, costs one warning and
nothing else. Nothing is left to do when the process ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._files import replace_file, turn

FORMAT = 1
FILE = "triton.json"
LOCK_SECONDS = 5.0


def cache_directory() -> Path | None:
    """$POSTLUDE_CACHE_DIR, else $XDG_CACHE_HOME/postlude, else ~/.cache/postlude; None where there
    is no home directory."""
    if own := os.environ.get("POSTLUDE_CACHE_DIR"):
        return Path(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "postlude"
    try:
        return Path.home() / ".cache" / "postlude"
    except RuntimeError:
        return None


class Table:
    """Choices by key: each a list of integers, beside the time in microseconds that it took.

    ``directory`` None keeps it in memory. Any number of threads may use it.
    """

    def __init__(self, directory: Path | None) -> None:
        self.path = None if directory is None else directory / FILE
        self._entries: dict[str, dict[str, Any]] | None = None
        self._lock = threading.Lock()
        self._warned = False

    def get(self, key: str) -> tuple[int, ...] | None:
        """The choice kept for ``key``, or None. Reads the file once."""
        with self._lock:
            if self._entries is None:
                self._entries = self._read()
            entry = self._entries.get(key)
            return None if entry is None else tuple(entry["choice"])

    def put(self, key: str, choice: tuple[int, ...], microseconds: float) -> None:
        """Keeps a choice, in memory and, together with what others have added, in the file."""
        entry = {"choice": list(choice), "microseconds": round(microseconds, 3)}
        with self._lock:
            try:
                with self._turn():
                    entries = {**(self._entries or {}), **self._read(), key: entry}
                    self._write(entries)
            except OSError as error:
                entries = {**(self._entries or {}), key: entry}
                self._warn(f"cannot be written ({error}): what is tuned is kept in memory only")
            self._entries = entries

    def _read(self) -> dict[str, dict[str, Any]]:
        if self.path is None:
            return {}
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            self._warn(f"cannot be read ({error}): it is ignored")
            return {}
        try:
            return _entries(json.loads(text))
        except (ValueError, RecursionError) as error:
            self._warn(f"is no table of tuned choices ({error}): it is ignored, and rewritten")
            return {}

    def _write(self, entries: dict[str, dict[str, Any]]) -> None:
        if self.path is None:
            raise OSError("there is no home directory, and POSTLUDE_CACHE_DIR is not set")
        text = json.dumps({"format": FORMAT, "entries": entries}, indent=1, sort_keys=True)
        replace_file(self.path, text + "\n")

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Inside, no other process writes. Where locks do not work, writers may drop each other's
        entries, which are then tuned again, and nothing worse."""
        if self.path is None:
            yield
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with turn(self.path.with_suffix(".lock"), LOCK_SECONDS, required=False):
            yield

    def _warn(self, what: str) -> None:
        if not self._warned:
            self._warned = True
            where = self.path or "the table"
            warnings.warn(f"postlude.triton: {where} {what}", RuntimeWarning, stacklevel=2)


def _entries(data: Any) -> dict[str, dict[str, Any]]:
    """The entries of a file's content; ValueError where it is no table."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(f"expected an object of format {FORMAT}")
    entries = data.get("entries")
    if not isinstance(entries, dict):
        raise ValueError("expected entries")
    for key, entry in entries.items():
        choice = entry.get("choice") if isinstance(entry, dict) else None
        if not isinstance(choice, list) or not all(type(value) is int for value in choice):
            raise ValueError(f"expected a choice of integers for {key!r}")
    return entries
