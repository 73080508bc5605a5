"""What a user installs: what importing costs, and one version everywhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import postlude

ROOT = Path(__file__).resolve().parent.parent
MAX_IMPORT_SECONDS = 0.3


def version_in_header() -> str:
    text = (ROOT / "include" / "postlude" / "version.hpp").read_text()
    return ".".join(
        re.findall(r"^#define POSTLUDE_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)$", text, re.MULTILINE)
    )


def python(code: str, **environment: str) -> str:
    """What a fresh interpreter prints when it runs the code."""
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_import_needs_no_torch():
    code = "import sys, postlude, postlude.ops; print('torch' in sys.modules)"
    assert python(code) == "False"


def test_import_works_without_torch():
    code = "import sys; sys.modules['torch'] = None; import numpy, postlude\n"
    code += "x = numpy.eye(3, dtype='float32'); print(postlude.ops.linear(x, x).sum())"
    assert python(code) == "3.0"


def test_import_is_quick():
    # Beyond NumPy's import; the best of five, since noise only ever adds.
    code = "import time, numpy; start = time.perf_counter(); import postlude\n"
    code += "print(time.perf_counter() - start)"
    assert min(float(python(code)) for _ in range(5)) < MAX_IMPORT_SECONDS


def test_version_is_written_once():
    version = version_in_header()
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert postlude.__version__ == version
    assert version in postlude.show_config()
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{version}]" in changelog
    sources = ["pyproject.toml", "CMakeLists.txt", "python/postlude/__init__.py"]
    for name in sources:
        assert f'"{version}"' not in (ROOT / name).read_text(encoding="utf-8"), name
