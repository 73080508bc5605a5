"""The committed stub of postlude._C is what nanobind's stubgen makes of the module."""

import subprocess
import sys
from pathlib import Path

import pytest

import postlude

ROOT = Path(__file__).resolve().parent.parent
STUB = ROOT / "python" / "postlude" / "_C.pyi"
PATTERNS = ROOT / "bindings" / "stub_patterns.txt"


def test_the_stub_is_up_to_date(tmp_path):
    pytest.importorskip("nanobind")
    made = tmp_path / "_C.pyi"
    options = ["-m", "nanobind.stubgen", "-q", "-m", "postlude._C", "-p", str(PATTERNS)]
    subprocess.run([sys.executable, *options, "-o", str(made)], check=True)
    assert STUB.read_text() == made.read_text(), f"run: python {' '.join(options)} -o {STUB}"


def test_what_ops_take_is_what_the_core_takes():
    """postlude.ops hands all arguments on in order, so the names and their order must agree."""
    import ast
    import inspect

    functions, classes = {}, {}
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            functions[node.name] = [a.arg for a in node.args.args]
        elif isinstance(node, ast.ClassDef):
            methods = {n.name: n for n in node.body if isinstance(n, ast.FunctionDef)}
            classes[node.name] = {
                name: [a.arg for a in method.args.args] for name, method in methods.items()
            }
    for name in postlude.ops.__all__:
        target = getattr(postlude.ops, name)
        if name in functions:
            assert list(inspect.signature(target).parameters) == functions[name], name
            if f"explain_{name}" in functions:
                assert functions[f"explain_{name}"] == functions[name]
        elif name in classes:
            for method in ("__init__", "__call__"):
                ours = list(inspect.signature(getattr(target, method)).parameters)
                assert ours == classes[name][method], (name, method)
