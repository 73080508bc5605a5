"""Which tiles a product may run with: by rule, the first of them where nothing is tuned.

All tiles for one number of rows add up the products of an element in the same order with the same
instructions. So a choice changes the time of a call and never its bits, and tuning cannot show in
a result.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

# A key of the tuned table stands for all numbers of rows up to one of these; 0: for more.
ROWS = (16, 64, 256, 1024, 4096)
# float32 sums over k are made of sums over this many.
FLOAT32_CHUNK = 128


class Tile(NamedTuple):
    """The block of outputs of one program, its step along k, and how it is run."""

    block_m: int
    block_n: int
    block_k: int
    warps: int
    stages: int


# The first of each fits into 64 KiB of shared memory, also where gated.
_HALF_FEW = (
    Tile(16, 64, 64, 4, 4),
    Tile(16, 32, 128, 4, 4),
    Tile(16, 32, 256, 4, 3),
    Tile(16, 64, 128, 4, 4),
    Tile(16, 128, 64, 4, 4),
)
_HALF_SOME = (
    Tile(64, 64, 64, 4, 3),
    Tile(64, 32, 128, 4, 4),
    Tile(64, 64, 128, 4, 4),
    Tile(64, 128, 64, 4, 4),
)
_HALF_MANY = (
    Tile(128, 128, 32, 8, 3),
    Tile(128, 128, 64, 8, 4),
    Tile(128, 256, 64, 8, 3),
    Tile(64, 128, 64, 4, 4),
    Tile(128, 64, 64, 4, 4),
)
_FLOAT_FEW = (Tile(16, 64, 32, 4, 3), Tile(16, 32, 64, 4, 3), Tile(16, 128, 32, 4, 3))
_FLOAT_MANY = (Tile(64, 64, 32, 4, 3), Tile(32, 64, 32, 4, 3), Tile(128, 64, 16, 8, 3))


def row_class(rows: int) -> int:
    """The entry of ROWS that stands for this many rows."""
    return next((most for most in ROWS if rows <= most), 0)


def tiles(dtype: torch.dtype, rows: int, gated: bool) -> tuple[Tile, ...]:
    """The tiles for a product of that many rows; where gated, half as wide in n."""
    most = row_class(rows)
    found: tuple[Tile, ...]
    if dtype is torch.float32:
        found = _FLOAT_FEW if most == 16 else _FLOAT_MANY
    else:
        found = _HALF_FEW if most == 16 else _HALF_SOME if most == 64 else _HALF_MANY
    if not gated:
        return found
    return tuple(tile._replace(block_n=max(tile.block_n // 2, 16)) for tile in found)
