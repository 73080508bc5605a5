"""A tune file of a GPU that there is not, for tests of what is done with such files."""

import postlude

HEADER = f"""\
postlude tune file 1
version {postlude.__version__}
gpu A GPU (of tests)
arch sm_90
multiprocessors 132
"""


def key(m: int, n: int = 64, k: int = 128) -> str:
    return f"dtype=bf16 m={m} n={n} k={k} epilogue=plain"


def line(m: int, us: float = 41.2, tile: str = "large") -> str:
    return f"{key(m)} kernel=test.tiled tile={tile} us={us} shipped_us=43"
