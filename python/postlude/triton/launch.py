"""Starts the Triton kernels on checked arguments, and says why where there is no Triton."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..norms import LayerNorm, RMSNorm
from .arguments import Rows, refuse
from .tiles import FLOAT32_CHUNK, Tile, tiles
from .tuning import Product, default_tuner

Norm = LayerNorm | RMSNorm

# Rows up to this long are kept in registers between a norm's steps.
NORM_BLOCK = 8192
GROUP_M = 8


@functools.cache
def _missing() -> str:
    if importlib.util.find_spec("triton") is not None:
        return ""
    return "the package triton is not installed: install it with 'pip install triton'"


def unavailable() -> str:
    """Why the kernels cannot run in this process, or "" where they can."""
    if _missing():
        return _missing()
    if not torch.cuda.is_available() and not _interpreted():
        return (
            "torch finds no GPU (TRITON_INTERPRET=1 in the environment runs the kernels in "
            "Triton's interpreter, slowly)"
        )
    return ""


def require(op: str, x: Tensor) -> None:
    """ImportError without triton; ValueError where x's device or dtype has no kernel."""
    if _missing():
        raise ImportError(f"[triton.{op}] {_missing()}")
    if mismatch := _mismatch(x):
        raise refuse(op, "x", *mismatch)


def why_not(x: Tensor) -> str:
    """Why the kernels do not run on x's device and dtype, or "" where they do."""
    if _missing():
        return _missing()
    mismatch = _mismatch(x)
    return f"expected {mismatch[0]}, got {mismatch[1]}" if mismatch else ""


def _mismatch(x: Tensor) -> tuple[str, str] | None:
    """(what x should be, what it is), or None where it is that."""
    interpreted = _interpreted()
    if not x.is_cuda and not (interpreted and x.device.type == "cpu"):
        expected = "a CUDA tensor, or TRITON_INTERPRET=1 in the environment before triton's import"
        return expected, f"a tensor on {x.device}"
    if interpreted and x.dtype is torch.bfloat16:
        return "float32 or float16 in Triton's interpreter", "bfloat16"
    return None


@functools.cache
def _kernels() -> Any:
    return importlib.import_module(".kernels", __package__)


@functools.cache
def _interpreted() -> bool:
    """Whether the kernels are run by Triton's interpreter: decided when they are imported."""
    from triton.runtime.interpreter import InterpretedFunction

    return isinstance(_kernels().linear_kernel, InterpretedFunction)


def _on(x: Tensor) -> contextlib.AbstractContextManager[Any]:
    return torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext()


class Epilogue(NamedTuple):
    """What a product does with its sums; ``activation`` is an exact name or "none"."""

    bias: Tensor | None
    activation: str
    gated: bool
    layout: str
    residual: Rows | None
    alpha: float
    clamp: float | None


def product(x: Rows, weight: Tensor, epilogue: Epilogue, out: Tensor, autotune: bool) -> None:
    """out (rows, n), contiguous, = the epilogue of x weight^T; weight (n, k) or (2 * n, k)."""
    rows, n, k = x.rows, out.shape[-1], weight.shape[1]
    if rows == 0 or n == 0:
        return
    gate, up = (0, n) if epilogue.layout == "gate_up" else (n, 0)
    residual = epilogue.residual
    n_stride, k_stride = weight.stride()
    chunk = FLOAT32_CHUNK if x.tensor.dtype is torch.float32 else 0

    def run(tile: Tile) -> None:
        programs = -(-rows // tile.block_m) * -(-n // tile.block_n)
        _kernels().linear_kernel[(programs,)](
            x.tensor,
            weight,
            epilogue.bias,
            None if residual is None else residual.tensor,
            out,
            rows,
            n,
            k,
            *x[2:],
            n_stride,
            k_stride,
            tile.block_k * k_stride,
            gate * n_stride if epilogue.gated else 0,
            up * n_stride if epilogue.gated else 0,
            gate if epilogue.gated else 0,
            up if epilogue.gated else 0,
            *((1, 0, 0) if residual is None else residual[2:]),
            float(epilogue.alpha),
            None if epilogue.clamp is None else float(epilogue.clamp),
            ACTIVATION=epilogue.activation,
            GATED=epilogue.gated,
            EVEN_K=k % max(chunk, tile.block_k) == 0,
            CHUNK=chunk,
            BLOCK_M=tile.block_m,
            BLOCK_N=tile.block_n,
            BLOCK_K=tile.block_k,
            GROUP_M=GROUP_M,
            num_warps=tile.warps,
            num_stages=tile.stages,
        )

    with _on(out):
        if autotune:
            run(default_tuner().choose(Product(x.tensor, weight, rows, epilogue.gated), run))
        else:
            run(tiles(x.tensor.dtype, rows, epilogue.gated)[0])


class Terms(NamedTuple):
    """The sum that a norm begins with: x (+ residual) (+ bias)."""

    x: Rows
    residual: Rows | None
    bias: Tensor | None


def normalise(terms: Terms, norm: Norm | None, normed: Tensor, summed: Tensor | None) -> None:
    """normed = norm(r) and summed = r, r = the sum of the terms; both (rows, size), contiguous."""
    x, residual = terms.x, terms.residual
    size = normed.shape[-1]
    if normed.numel() == 0:
        return
    block = min(1 << (size - 1).bit_length(), NORM_BLOCK)
    with _on(normed):
        _kernels().norm_kernel[(x.rows,)](
            x.tensor,
            None if residual is None else residual.tensor,
            terms.bias,
            None if norm is None else norm.weight,
            norm.bias if isinstance(norm, LayerNorm) else None,
            normed,
            summed,
            size,
            *x[2:],
            *((1, 0, 0) if residual is None else residual[2:]),
            0.0 if norm is None else float(norm.eps),
            float(norm.weight_offset) if isinstance(norm, RMSNorm) else 0.0,
            KIND="none" if norm is None else norm.kind,
            ONE_BLOCK=size <= block,
            BLOCK=block,
            num_warps=1 if block <= 256 else 4 if block <= 2048 else 8,
        )
