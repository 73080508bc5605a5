"""The examples in the README and in docs are real: the Python ones run, the C++ one compiles."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from markdown import blocks

ROOT = Path(__file__).resolve().parent.parent


# The other pages have tests of their own, which look at the results as well.
PAGES = [
    page
    for page in sorted((ROOT / "docs").glob("*.md"))
    if page.stem not in ("deepspeed", "huggingface")
]


def block(language: str) -> str:
    """The README's first block of code in a language."""
    return blocks(ROOT / "README.md", language)[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_of_a_page_run(page, tmp_path, monkeypatch):
    """In order and in one namespace, in a directory of their own."""
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for example in blocks(page, "python"):
        exec(compile(example, page.name, "exec"), names)


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
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    if shutil.which(compiler[0]) is None:
        pytest.skip("no C++ compiler")
    command = [*compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    command += [f"-I{ROOT / 'include'}", "-x", "c++", "-"]
    run = subprocess.run(command, input=block("cpp"), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
