"""Times the tiles of one product on a GPU for ``postlude tune``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .. import RMSNorm, ops
from .._interop import _C
from ..tuning import using
from .tensors import TORCH_NAMES
from .timing import Replay, copies_of, replay, seconds_of, take_turns, waiter
from .tune import Problem

_BEST = 4  # tiles that go into the second round
_QUICK = 0.003  # seconds for each in the first
# Two tiles add the same products in another order.
_TOLERANCE = {"f32": 1e-4, "bf16": 2e-2, "f16": 3e-3}


class GpuTimer:
    """Called with a problem and its tiles, gives microseconds of the library's choice and of the
    best tiles: all once, then the best in turns. Copies of the weight keep it out of the caches."""

    def __init__(self, device: str, header: str, rounds: int) -> None:
        self._device, self._header, self._rounds = device, header, rounds

    def __call__(self, problem: Problem, tiles: list[str]) -> tuple[float, dict[str, float]]:
        """RuntimeError where a tile computes something else than the library's choice."""
        calls = self._calls(problem)
        with using(_C.TuneTable()):
            expected = calls[0]()
            shipped = replay(calls, self._device)
        wait = waiter(self._device)
        quick = {}
        for tile in tiles:
            with using(self._table(problem, tile)):
                self._check(problem, tile, calls[0](), expected)
                graph = replay(calls, self._device)
            once = seconds_of(graph, 1, wait)
            quick[tile] = seconds_of(graph, max(1, int(_QUICK / once)), wait)
        contenders: dict[str, Replay] = {"": shipped}
        for tile in sorted(quick, key=lambda name: quick[name])[:_BEST]:
            with using(self._table(problem, tile)):
                contenders[tile] = replay(calls, self._device)
        seconds = take_turns(contenders, self._rounds, wait)
        us = {name: value / len(calls) * 1e6 for name, value in seconds.items()}
        return us.pop(""), us

    def _table(self, problem: Problem, tile: str) -> Any:
        """A table of this entry alone."""
        text = f"{self._header}{problem.key} {tile} us=1 shipped_us=1\n"
        return _C.TuneTable.parse(text, tile)

    def _check(self, problem: Problem, tile: str, y: Tensor, expected: Tensor) -> None:
        error = ((y.float() - expected.float()).norm() / expected.float().norm()).item()
        if not error <= _TOLERANCE[problem.dtype]:
            raise RuntimeError(
                f"[tune] {problem.key} {tile}: differs from the library's choice by {error:.1e}"
            )

    def _calls(self, problem: Problem) -> list[Callable[[], Tensor]]:
        """The product with each copy of the weight."""
        m, n, k = problem.m, problem.n, problem.k
        dtype = getattr(torch, TORCH_NAMES[problem.dtype])
        rows = 2 * n if problem.epilogue == "gated" else n

        def random(*shape: int, scale: float = 1.0) -> Tensor:
            return (torch.randn(*shape, device=self._device) * scale).to(dtype)

        x = random(m, k)
        count = copies_of(rows * k * x.element_size())
        weights = [random(rows, k, scale=k**-0.5) for _ in range(count)]
        if problem.epilogue == "scaled":
            norm = RMSNorm(torch.ones(k, device=self._device, dtype=dtype), 1e-5)
            packed = [ops.pack_weight(weight, norm=norm) for weight in weights]
            return [partial(ops.qkv, x, weight, norm=norm) for weight in packed]
        options: dict[str, Any] = {"activation": problem.activation, "gated": rows > n}
        if problem.epilogue == "residual":
            options["residual"] = random(m, n)
        return [partial(ops.linear, x, weight, **options) for weight in weights]
