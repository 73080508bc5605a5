"""Errors that tell of what this machine lacks: a library, the compiled core, a package, a GPU."""

import importlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import postlude
from postlude import _native
from postlude.cli import main, tune

NEEDED = (
    "postlude needs oneDNN's libdnnl.so.3, which the Python package onednn-cpu-gomp brings: "
    "install it with 'pip install onednn-cpu-gomp==2023.2.0'"
)
SIZES = ["--hidden", "48", "--intermediate", "72", "--heads", "4", "--device", "cuda"]


def test_a_onednn_that_cannot_be_loaded(tmp_path, monkeypatch):
    broken = tmp_path / "libdnnl.so.3"
    broken.write_text("no library")

    class File:
        name = broken.name
        locate = staticmethod(lambda: broken)

    monkeypatch.setattr(importlib.metadata, "files", lambda package: [File])
    with pytest.raises(ImportError) as caught:
        _native.load()
    text = str(caught.value)
    assert text.startswith(f"{NEEDED}. It is installed, but cannot be loaded: {broken}: ")
    assert text.endswith(
        ". Where libgomp.so.1 is missing, install the system's GNU OpenMP library (Debian and "
        "Ubuntu: apt install libgomp1)"
    )


def test_a_onednn_that_is_not_there(monkeypatch):
    """What the loader says; tests/test_wheel.py has a wheel without oneDNN."""
    said = "libdnnl.so.3: cannot open shared object file: No such file or directory"

    def refuse(*names):
        raise ImportError(said)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(ImportError, match=re.escape(f"{NEEDED} ({said})") + "$"):
        _native.load()
    said = "undefined symbol"  # of another library: not ours to explain
    with pytest.raises(ImportError, match=r"^undefined symbol$"):
        _native.load()


def test_a_checkout_that_is_not_built(tmp_path):
    shutil.copytree(
        Path(postlude.__file__).parent,
        tmp_path / "postlude",
        ignore=shutil.ignore_patterns("_C.*.so", "_C.so", "__pycache__"),
    )
    run = subprocess.run(
        [sys.executable, "-c", "import postlude.ops"],
        env={"PYTHONPATH": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == (
        "ImportError: postlude's compiled core is missing: install the wheel with "
        "'pip install postlude', or build this checkout with 'make build'"
    )


CALL = """
import numpy
from postlude import ops
try:
    ops.linear(numpy.ones((7, 33), "float32"), numpy.ones((40, 33), "float32"))
except (ValueError, RuntimeError) as error:
    print(type(error).__name__, error)
"""


def said_by_a_call(**environment):
    command = [sys.executable, "-c", CALL]
    return subprocess.run(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def test_vector_code_that_the_machine_lacks():
    said = said_by_a_call(POSTLUDE_CPU_ISA="avx9")
    words = (
        r"ValueError \[environment\] POSTLUDE_CPU_ISA: expected one of baseline\b.*, got 'avx9'\n"
    )
    assert re.fullmatch(words, said), said
    assert said_by_a_call(POSTLUDE_CPU_ISA="baseline") == ""


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_a_onednn_that_fails(tmp_path):
    """One that refuses to run what it has made, put ahead of the real one."""
    library = tmp_path / "failing.so"
    source = "int dnnl_primitive_execute(void) { return 5; }"
    command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library]
    subprocess.run(command, input=source, text=True, check=True)
    said = said_by_a_call(LD_PRELOAD=str(library))
    assert said.startswith("RuntimeError [linear] oneDNN failed to execute gemm m=7 n=40 k=33"), (
        said
    )


def line_of(capsys, *arguments):
    """The one line that the command prints when it fails."""
    assert main(list(arguments)) == 1
    text = capsys.readouterr().err
    assert text.count("\n") == 1, text
    return text.rstrip("\n")


@pytest.mark.parametrize("package", ["torch", "matplotlib"])
def test_bench_without_a_package(capsys, monkeypatch, tmp_path, package):
    monkeypatch.setitem(sys.modules, package, None)
    said = line_of(capsys, "bench", *SIZES, "--plot", str(tmp_path / "plot.png"))
    assert said == f"[bench] needs {package}: pip install {package}"


def test_tune_without_torch(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(tune, "_why_nothing", lambda device: "")  # as with a GPU
    monkeypatch.setitem(sys.modules, "torch", None)
    said = line_of(capsys, "tune", *SIZES, "--out", str(tmp_path / "file"))
    assert said == "[tune] needs torch: pip install torch"


def test_bench_without_a_gpu(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    said = line_of(capsys, "bench", *SIZES)
    assert said == "[bench] device: expected a GPU that torch finds, got none"
