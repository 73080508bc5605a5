"""Chooses a product's tile: by rule, or timed once and then taken from the table on disk."""

from __future__ import annotations

import functools
import statistics
import threading
import time
from collections.abc import Callable

import torch

from .table import Table, cache_directory
from .tiles import Tile, row_class, tiles

REPEATS = 10
# Written before each timed run, so that no weight is found in the L2 cache; long enough on the GPU
# for the next launch to arrive before it ends.
FLUSH_BYTES = 2**28


class Tuner:
    """Finds the fastest tile of each product once; the table keeps it for other processes."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._chosen: dict[tuple[object, ...], Tile] = {}
        self._lock = threading.Lock()

    def choose(self, product: Product, run: Callable[[Tile], object]) -> Tile:
        """The tile for ``product``; where nothing is known of it, ``run`` is timed with each.

        A tile that the device has no room for is left out. While the stream is captured into a
        CUDA graph nothing is timed, and an unknown product takes the first tile.
        """
        tile = self._chosen.get(product.memory_key)
        if tile is not None:
            return tile
        candidates = tiles(product.dtype, product.rows, product.gated)
        if product.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return candidates[0]
        with self._lock:
            if tile := self._chosen.get(product.memory_key):
                return tile
            key = product.table_key()
            known = self.table.get(key)
            found = next((tile for tile in candidates if tuple(tile) == known), None)
            if found is None:
                times = _times(candidates, run, product.device)
                found = min(times, key=lambda tile: times[tile])
                self.table.put(key, tuple(found), times[found])
            self._chosen[product.memory_key] = found
            return found


class Product:
    """What a choice of tile depends on."""

    __slots__ = ("_inputs", "_order", "_outputs", "device", "dtype", "gated", "memory_key", "rows")

    def __init__(self, x: torch.Tensor, weight: torch.Tensor, rows: int, gated: bool) -> None:
        self.device, self.dtype, self.rows, self.gated = x.device, x.dtype, rows, gated
        self._outputs, self._inputs = weight.shape
        self._order = "kn" if weight.stride(0) == 1 and weight.stride(1) != 1 else "nk"
        self.memory_key = (
            x.device,
            x.dtype,
            self._outputs,
            self._inputs,
            row_class(rows),
            gated,
            self._order,
        )

    def table_key(self) -> str:
        """The key in the table: readable, and exact about what made the times."""
        import triton

        parts = (
            _device_name(self.device),
            f"triton {triton.__version__}",
            str(self.dtype).removeprefix("torch."),
            f"n {self._outputs}",
            f"k {self._inputs}",
            f"m {row_class(self.rows) or 'more'}",
            self._order,
            *(("gated",) if self.gated else ()),
        )
        return " | ".join(parts)


@functools.cache
def default_tuner() -> Tuner:
    """The tuner of this process, on the table in the cache directory."""
    return Tuner(Table(cache_directory()))


def _times(
    candidates: tuple[Tile, ...], run: Callable[[Tile], object], device: torch.device
) -> dict[Tile, float]:
    """Microseconds of each tile that the device has room for."""
    import triton

    times: dict[Tile, float] = {}
    refusal: Exception | None = None
    for tile in candidates:
        try:
            times[tile] = measure(functools.partial(run, tile), device)
        except triton.OutOfResources as error:
            refusal = error
    if not times:
        raise refusal or ValueError("there is no tile to choose from")
    return times


def measure(run: Callable[[], object], device: torch.device) -> float:
    """The median time of ``run`` in microseconds: by CUDA events, or by the clock on the CPU."""
    run()
    if device.type != "cuda":
        start = time.perf_counter()
        run()
        return (time.perf_counter() - start) * 1e6
    try:
        flush = torch.empty(FLUSH_BYTES, dtype=torch.int8, device=device)
    except torch.cuda.OutOfMemoryError:
        flush = torch.empty(0, dtype=torch.int8, device=device)  # a full GPU: weights may be in L2
    pairs = []
    for _ in range(REPEATS):
        start_event, end_event = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        flush.zero_()
        start_event.record()
        run()
        end_event.record()
        pairs.append((start_event, end_event))
    torch.cuda.synchronize(device)
    return statistics.median(start.elapsed_time(end) for start, end in pairs) * 1e3


@functools.cache
def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "interpreter"
