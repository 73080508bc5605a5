"""The examples in the README are real: the Python one runs, the C++ one compiles."""

from pathlib import Path
from typing import Any

import pytest
from markdown import blocks, compile_text

ROOT = Path(__file__).resolve().parent.parent


def block(language: str) -> str:
    """The README's first block of code in a language."""
    return blocks(ROOT / "README.md", language)[0]


def test_python_example_runs():
    torch = pytest.importorskip("torch")
    names: dict[str, Any] = {}
    exec(compile(block("python"), "README.md", "exec"), names)
    assert names["y"].shape == (2, 7, 64)
    assert torch.isfinite(names["y"]).all()
    # What the comment in the example says that ops.mlp computes, in double precision.
    names["x"] = names["x"].double()
    n = torch.nn.functional.rms_norm(names["x"], (64,), eps=1e-5)
    gate, up = (n @ names["gate_up"].double().T).chunk(2, dim=-1)
    h = torch.nn.functional.silu(gate) * up
    expected = names["x"] + h @ names["down"].double().T
    first = names["ops"].mlp(
        names["x"].float(),
        names["gate_up"],
        names["down"],
        activation="silu",
        gated=True,
        norm=names["RMSNorm"](names["gain"], eps=1e-5),
    )
    assert (first.double() - expected).norm() / expected.norm() < 1e-5


def test_cpp_example_compiles():
    compile_text(block("cpp"), "c++17")
