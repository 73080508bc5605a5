"""What ``optimize`` did to a model, and how to undo it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ._layer import FusedLayer, restore


@dataclass(frozen=True)
class Fused:
    """A layer that was fused: its path in the model, the operations that it now runs, and its
    submodules with parameters that it calls as before (paths from the layer on, and why)."""

    path: str
    operations: tuple[str, ...]
    kept: tuple[tuple[str, str], ...] = ()

    @property
    def summary(self) -> str:
        """All but the path of the layer."""
        kept = (f"{name} left alone ({reason})" for name, reason in self.kept)
        return "; ".join((*self.operations, *kept))

    def __str__(self) -> str:
        return f"{self.path}: {self.summary}"


@dataclass(frozen=True)
class Skipped:
    """A layer that was left alone (path "" is the model itself), and why."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path or '(model)'}: {self.reason}"


@dataclass
class Report:
    """What ``optimize`` fused, what it skipped and why, the extra memory, and the way back.

    ``skipped`` are layers, ``outside`` the other modules with parameters, such as embeddings.
    """

    model: str
    quantize: str | None
    fused: list[Fused] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    outside: list[Skipped] = field(default_factory=list)
    layers: list[FusedLayer] = field(default_factory=list, repr=False)

    @property
    def packed_bytes(self) -> int:
        """Bytes that the packed copies of the weights hold now, besides the parameters."""
        return sum(layer.packed_bytes for layer in self.layers)

    def revert(self) -> None:
        """Gives every fused layer its own forward back and frees the packed copies; does nothing a
        second time.

        Modules and parameters were never exchanged, so they are the same objects as before
        ``optimize``.
        """
        for layer in self.layers:
            restore(layer)
        self.layers.clear()

    def __str__(self) -> str:
        weights = "weights as they are" if self.quantize is None else f"{self.quantize} weights"
        head = (
            f"{self.model}: {len(self.fused)} layers fused, {len(self.skipped)} skipped, {weights}"
        )
        lines = [head, f"extra memory: {self.packed_bytes / 2**20:.1f} MiB in packed weights"]
        lines += _grouped("fused", ((item.path, item.summary) for item in self.fused))
        lines += _grouped(
            "skipped", ((item.path or "(model)", item.reason) for item in self.skipped)
        )
        by_reason: dict[str, list[str]] = {}
        for item in self.outside:
            by_reason.setdefault(item.reason, []).append(item.path or "(model)")
        lines += [f"  left alone, {why}: {', '.join(paths)}" for why, paths in by_reason.items()]
        return "\n".join(lines)


def _grouped(title: str, items: Iterable[tuple[str, str]]) -> list[str]:
    paths: dict[str, list[str]] = {}
    for path, text in items:
        paths.setdefault(text, []).append(path)
    lines = []
    for text, where in paths.items():
        span = where[0] if len(where) == 1 else f"{where[0]} ... {where[-1]} ({len(where)})"
        lines.append(f"  {title} {span}: {text}")
    return lines
