"""TritonMLP: DeepSpeedMLP with its norm and its products on Triton's kernels."""

from __future__ import annotations

from typing import Any

from .mlp import DeepSpeedMLP
from .triton_kernels import TritonKernels


class TritonMLP(DeepSpeedMLP):
    """``DeepSpeedMLP`` on Triton's kernels, whatever ``config.use_triton`` says.

    Arguments, parameters and results are those of ``DeepSpeedMLP``. Weights are read where they
    are, in any layout, and no packed copy is made. With ``config.triton_autotune`` each product's
    tile is timed at its first call and kept on disk for other processes (``postlude.triton`` says
    where); without it the tile is a fixed one, and the result has the same bits.

    DeepSpeed's is for float16, LayerNorm and weights [in, out]. This one is for float16 and
    bfloat16, both norms and both layouts; for float32 and int8, on a CPU or without the package
    triton, ``postlude.ops`` computes the same. That is logged once, and raises
    ``postlude.Unsupported`` where POSTLUDE_STRICT=1.
    """

    @property
    def kernels(self) -> Any:
        """Triton's, with ``postlude.ops`` behind them; weights stay as they are."""
        return TritonKernels(self._name, self.config.triton_autotune)
