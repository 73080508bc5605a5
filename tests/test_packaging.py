"""What a user installs: what importing costs, one version everywhere, a wheel that works."""

import os
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import postlude

ROOT = Path(__file__).resolve().parent.parent
MAX_WHEEL_BYTES = 10_000_000
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of the CPU build, as `pip wheel .` makes it."""
    pytest.importorskip("scikit_build_core")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-build-isolation", "--no-deps"]
    command += ["--disable-pip-version-check", f"--wheel-dir={folder}"]
    command += [f"--config-settings=build-dir={folder}/build"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "POSTLUDE_CUDA": "OFF", "PATH": path}
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr
    (file,) = folder.glob("postlude-*.whl")
    return file


@pytest.mark.slow
def test_wheel_is_small_and_complete(wheel):
    assert wheel.stat().st_size < MAX_WHEEL_BYTES
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        fields = Parser().parsestr(archive.read(metadata).decode("utf-8"))
    assert fields["Version"] == version_in_header()
    assert any(need.startswith("onednn-cpu-gomp") for need in fields.get_all("Requires-Dist", []))
    assert "postlude/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert sum(bool(re.fullmatch(r"postlude/_C\..*so", name)) for name in names) == 1
    shipped = {Path(name).suffix for name in names if name.startswith("postlude/")}
    assert shipped <= {".py", ".pyi", ".so", ".typed"}, shipped


@pytest.mark.slow
def test_wheel_works_away_from_the_checkout(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    code += "import numpy, postlude; x = numpy.eye(3, dtype='float32')\n"
    code += "print(postlude.__file__, postlude.ops.linear(x, x).sum())"
    assert python(code) == f"{tmp_path / 'postlude' / '__init__.py'} 3.0"
