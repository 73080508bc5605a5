"""VectorMatMulOp: a product, on the caller's stream or beside it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import Weight
from .base import BaseOp
from .config import DeepSpeedInferenceConfig

_NAMES = {"x": "input"}


class VectorMatMulOp(BaseOp):
    """ValueError for shapes or dtypes that disagree."""

    def __init__(self, config: DeepSpeedInferenceConfig) -> None:
        super().__init__(config)
        self._side: dict[torch.device, torch.cuda.Stream] = {}

    def forward(self, input: Tensor, weight: Tensor, async_op: bool = False) -> Tensor:
        """input (*, in), weight with N outputs -> input W (*, N).

        ``async_op``, on a GPU: the product runs on a stream of this op's own, which waits for what
        is on the caller's stream now; what the caller puts on its stream afterwards waits for the
        product. No effect on the CPU.
        """
        self._checked(input=input)
        matrix = self._weight("weight", weight)
        if not async_op or not input.is_cuda:
            return self._run("linear", _NAMES, input, matrix)
        here, side = torch.cuda.current_stream(input.device), self._side_stream(input.device)
        # Of the caller's stream, so that its memory is reused only after what waits there.
        out = input.new_empty(*input.shape[:-1], _outputs(matrix))
        side.wait_stream(here)
        with torch.cuda.stream(side):
            self._run("linear", _NAMES, input, matrix, out=out)
        here.wait_stream(side)
        return out

    def _side_stream(self, device: torch.device) -> torch.cuda.Stream:
        stream = self._side.get(device)
        if stream is None:
            stream = self._side.setdefault(device, torch.cuda.Stream(device))
        return stream

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_side": {}}


def _outputs(matrix: Any) -> int:
    if isinstance(matrix, (Tensor, Weight)):
        return matrix.shape[0]
    return len(matrix.values)
