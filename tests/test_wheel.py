"""The wheel, as `python -m build` makes it from the source distribution: what is in it, and that
Python, C++ and C programs work with it."""

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from building import (
    CMAKE,
    LANGUAGES,
    PATH,
    RESULT_OF_EXAMPLES,
    ROOT,
    check_exports,
    command,
    exported_symbols,
    run_example,
)

import postlude

MAX_WHEEL_BYTES = 10_000_000
REQUIREMENTS = ["build", "nanobind", "scikit_build_core"]
MISSING = [n for n in REQUIREMENTS if getattr(importlib.util.find_spec(n), "origin", None) is None]

needs_to_build = pytest.mark.skipif(
    bool(MISSING) or CMAKE is None, reason=f"cannot build a wheel without {MISSING or 'CMake'}"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of the CPU build, from the source distribution, without network."""
    folder = tmp_path_factory.mktemp("dist")
    arguments = ["--no-isolation", f"--outdir={folder}", str(ROOT)]
    run = subprocess.run(
        [sys.executable, "-m", "build", *arguments],
        cwd=folder,  # in the checkout, build/ would shadow the module
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": PATH, "POSTLUDE_CUDA": "OFF", "PIP_NO_INDEX": "1"},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert len(list(folder.glob("postlude-*.tar.gz"))) == 1
    (file,) = folder.glob("postlude-*.whl")
    return file


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def interpreter(wheel, tmp_path_factory):
    """Python of an environment into which pip has put the wheel, and which sees this one's
    packages."""
    environment = tmp_path_factory.mktemp("environment")
    command(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    options = ["--disable-pip-version-check", "--no-index", "--no-deps"]
    command(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel)
    (packages,) = environment.glob("lib/python*/site-packages")
    ours = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (packages / "parent.pth").write_text("\n".join(ours))
    # The wheel's requirement would have been put here.
    files = importlib.metadata.files("onednn-cpu-gomp") or []
    (onednn,) = (file.locate() for file in files if file.name == "libdnnl.so.3")
    (environment / "lib" / "libdnnl.so.3").symlink_to(Path(onednn).resolve())
    return python


def run_clean(python: Path, *arguments: str) -> str:
    """What the environment's Python prints, away from the checkout."""
    clean = {"PYTHONPATH": "", "LD_LIBRARY_PATH": ""}
    return command(python, "-P" if sys.version_info >= (3, 11) else "-E", *arguments, **clean)


@needs_to_build
@pytest.mark.slow
class TestWheel:
    def test_is_small_and_complete(self, wheel, names):
        assert wheel.stat().st_size < MAX_WHEEL_BYTES
        with zipfile.ZipFile(wheel) as archive:
            (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
            fields = Parser().parsestr(archive.read(metadata).decode("utf-8"))
        assert fields["Version"] == postlude.__version__
        assert any(n.startswith("onednn-cpu-gomp") for n in fields.get_all("Requires-Dist", []))
        assert "postlude/py.typed" in names
        assert any(name.endswith("licenses/LICENSE") for name in names)
        headers = {path.name for path in (ROOT / "include" / "postlude").iterdir()}
        assert headers == {Path(n).name for n in names if n.startswith("postlude/include/")}
        package = "postlude/lib/cmake/postlude"
        for file in [
            "postludeConfig.cmake",
            "postludeConfigVersion.cmake",
            "postludeTargets.cmake",
        ]:
            assert f"{package}/{file}" in names
        outside = [
            n for n in names if re.match(r"postlude/(include|lib)/|.*\.dist-info/", n) is None
        ]
        shipped = {Path(name).suffix for name in outside}
        assert shipped <= {".py", ".pyi", ".so", ".typed"}, shipped

    def test_holds_each_binary_once_and_no_library_of_others(self, names):
        binaries = [Path(name).name for name in names if ".so" in name or name.endswith(".a")]
        major, minor, _ = postlude.__version__.split(".")
        assert sorted(re.sub(r"_C\..*so", "_C.so", name) for name in binaries) == [
            "_C.so",
            f"libpostlude.so.{major}.{minor}",
        ]

    def test_its_tags(self, wheel):
        python, abi = wheel.name.split("-")[2:4]
        own = f"cp{sys.version_info.major}{sys.version_info.minor}"
        assert (python, abi) == (("cp312", "abi3") if sys.version_info >= (3, 12) else (own, own))

    def test_exports_nothing_but_the_interface(self, wheel, tmp_path):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(tmp_path)
        check_exports(next(tmp_path.rglob("libpostlude.so*")))
        (extension,) = tmp_path.glob("postlude/_C*.so")
        assert exported_symbols(extension) == ["PyInit__C"]

    def test_finds_the_thread_pool_and_onednn_outside(self, wheel, tmp_path):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(tmp_path)
        needed = command("readelf", "-d", next(tmp_path.rglob("libpostlude.so*")))
        assert {"libdnnl.so.3", "libgomp.so.1"} <= set(re.findall(r"\[(lib\S+)\]", needed))

    def test_works_away_from_the_checkout(self, interpreter):
        code = "import numpy, postlude; x = numpy.eye(3, dtype='float32')\n"
        code += "print(postlude.__file__, postlude.ops.linear(x, x).sum())"
        file, total = run_clean(interpreter, "-c", code).split()
        assert Path(file).is_relative_to(interpreter.parent.parent)
        assert total == "3.0"

    def test_installs_the_command(self, interpreter):
        script = interpreter.with_name("postlude")
        folder = command(script, "--cmake-dir", PYTHONPATH="").strip()
        assert Path(folder).is_relative_to(interpreter.parent.parent)
        assert f"CMake package: {folder}" in command(script, "info", PYTHONPATH="")

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_programs_build_against_it(self, interpreter, tmp_path, language):
        folder = run_clean(interpreter, "-m", "postlude", "--cmake-dir").strip()
        wanted = f"-Dpostlude_DIR={folder}"
        output = run_example(tmp_path, language, Path(folder), wanted, LD_LIBRARY_PATH="")
        assert output == RESULT_OF_EXAMPLES
