"""The file of ``postlude tune``: read, merged and replaced as a whole, so that a run that is killed
and runs side by side lose nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .._files import remove_left_over, replace_file, turn

LOCK_SECONDS = 60.0


class TuneFile:
    """A tune file of one GPU and version, given by the ``header`` of :func:`_C.tune_header`."""

    def __init__(self, path: Path, header: str) -> None:
        self.path, self.header = path, header

    def check(self) -> int:
        """The number of entries that there are. ValueError for a file that is none or another
        GPU's or version's; OSError where it could not be written."""
        with self._turn():
            return len(self._read())

    def update(self, found: dict[str, str | None]) -> None:
        """Puts lines in for keys, None to leave a problem to the library's choice; the file's other
        entries stay, also those that another run has just added. Errors as :meth:`check`'s."""
        with self._turn():
            remove_left_over(self.path)
            lines = {**self._read(), **found}
            text = self.header + "".join(f"{line}\n" for line in lines.values() if line)
            from .._interop import _C

            _C.TuneTable.parse(text, str(self.path))  # what is written can be read
            replace_file(self.path, text, mode=0o644)

    def _read(self) -> dict[str, str | None]:
        from .._interop import _C

        if not self.path.exists():
            return {}
        table = _C.TuneTable.read(str(self.path))
        if table.header != self.header:
            raise ValueError(
                f"[tune] out: expected a file of this GPU and version, or a new one, got "
                f"{self.path}, which is for {_said(table.header)}, not {_said(self.header)}"
            )
        return dict(table.entries)

    def _turn(self) -> Any:
        lock = self.path.with_name(f"{self.path.name}.lock")
        return turn(lock, LOCK_SECONDS, required=True)


def _said(header: str) -> str:
    """The header's four values, on one line."""
    return ", ".join(header.splitlines()[1:])
