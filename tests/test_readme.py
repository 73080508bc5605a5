"""The Python, the commands and the CMake in the README are real; tests/test_page_programs.py runs
its C++."""

from pathlib import Path
from typing import Any

import pytest
from building import GUIDE
from markdown import blocks, commands_of
from tiny_models import encoder

import postlude

README = Path(__file__).resolve().parent.parent / "README.md"


def block(language: str) -> str:
    """The README's first block of code in a language."""
    return blocks(README, language)[0]


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


def test_a_whole_model_is_optimized(capsys):
    _, example = blocks(README, "python")
    exec(compile(example, "README.md", "exec"), {"postlude": postlude, "model": encoder()})
    assert "encoder.layer.0 ... encoder.layer.1 (2): query + key + value" in capsys.readouterr().out


def test_the_library_is_installed_as_in_the_guide():
    """Whose commands and CMake are run by tests/test_install.py and test_page_programs.py."""
    first, *others = commands_of(README)
    assert [words for words in others if words[0] == "cmake"] == commands_of(GUIDE)
    assert first == ["make", "demo"] and others[0] == ["make", "test"]
    ours, theirs = (blocks(path, "cmake")[0].splitlines() for path in (README, GUIDE))
    assert [line.partition("  #")[0] for line in ours] == theirs
