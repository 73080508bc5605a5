"""The wheel, as `python -m build` makes it from the source distribution: what is in it, and that
Python, C++ and C programs work with it, without torch and with the torch of each Python named.

POSTLUDE_WHEEL names another wheel to test in its place, that of `make wheel POSTLUDE_CUDA=ON` say.
POSTLUDE_TORCH_PYTHONS names Pythons of this version that have other versions of torch.
"""

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import check_architectures
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

MAX_BYTES = {"cpu": 10_000_000, "cuda": 60_000_000}
WHEEL = os.environ.get("POSTLUDE_WHEEL", "")
PYTHONS = [sys.executable, *os.environ.get("POSTLUDE_TORCH_PYTHONS", "").split(os.pathsep)]
SUITES = ["test_dlpack.py", "test_nn.py", "test_torch_library.py"]  # with each torch
REQUIREMENTS = ["build", "nanobind", "scikit_build_core"]
MISSING = [n for n in REQUIREMENTS if getattr(importlib.util.find_spec(n), "origin", None) is None]

AUDIT = [n for n in ("auditwheel", "patchelf") if shutil.which(n, path=PATH) is None]

needs_cmake = pytest.mark.skipif(CMAKE is None, reason="there is no CMake")
needs_wheel = pytest.mark.skipif(
    not WHEEL and (bool(MISSING) or CMAKE is None),
    reason=f"cannot build a wheel without {MISSING or 'CMake'}",
)
needs_auditwheel = pytest.mark.skipif(bool(AUDIT), reason=f"there is no {' and no '.join(AUDIT)}")
# Builds need no network, and take what is installed.
OFFLINE = {"PATH": PATH, "POSTLUDE_CUDA": "OFF", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel named, or one of the CPU build, from the source distribution, without network."""
    if WHEEL:
        return Path(WHEEL).resolve(strict=True)
    folder = tmp_path_factory.mktemp("dist")
    arguments = ["--no-isolation", f"--outdir={folder}", str(ROOT)]
    run = subprocess.run(
        [sys.executable, "-m", "build", *arguments],
        cwd=folder,  # in the checkout, build/ would shadow the module
        capture_output=True,
        text=True,
        env={**os.environ, **OFFLINE},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert len(list(folder.glob("postlude-*.tar.gz"))) == 1
    (file,) = folder.glob("postlude-*.whl")
    return file


def files_in(wheel: Path) -> list[str]:
    """The names of a wheel's files."""
    with zipfile.ZipFile(wheel) as archive:
        return [name for name in archive.namelist() if not name.endswith("/")]


@pytest.fixture(scope="module")
def names(wheel):
    return files_in(wheel)


@pytest.fixture(scope="module")
def manylinux(wheel, tmp_path_factory):
    """The wheel as `make wheel` ships it: auditwheel has named the systems on which it runs."""
    if "-manylinux" in wheel.name:
        return wheel
    folder = tmp_path_factory.mktemp("manylinux")
    (recipe,) = re.findall(r"auditwheel repair.*\\\n.*", (ROOT / "Makefile").read_text("utf-8"))
    excluded = re.findall(r"--exclude \S+", recipe)
    arguments = ["repair", *" ".join(excluded).split(), "--wheel-dir", folder, wheel]
    command(sys.executable, "-m", "auditwheel", *arguments)
    (file,) = folder.iterdir()
    return file


@pytest.fixture(scope="module")
def library(wheel, tmp_path_factory):
    """The library of the wheel, unpacked beside the extension."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (file,) = folder.glob("postlude/lib/libpostlude.so*")
    return file


def environment(folder: Path, wheel: Path, python: str = sys.executable) -> Path:
    """The folder of packages of a new environment into which pip has put the wheel."""
    command(python, "-m", "venv", "--without-pip", folder)
    options = ["--disable-pip-version-check", "--no-index", "--no-deps"]
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install"]
    command(*pip, *options, wheel)
    # The wheel's requirement would have been put here.
    files = importlib.metadata.files("onednn-cpu-gomp") or []
    (onednn,) = (file.locate() for file in files if file.name == "libdnnl.so.3")
    (folder / "lib" / "libdnnl.so.3").symlink_to(Path(onednn).resolve())
    (packages,) = folder.glob("lib/python*/site-packages")
    return packages


def environment_beside(folder: Path, wheel: Path, python: str = sys.executable) -> Path:
    """Python of an environment with the wheel, which sees another Python's packages."""
    packages = environment(folder, wheel, python)
    paths = json.loads(command(python, "-c", "import json, sys; print(json.dumps(sys.path))"))
    theirs = [path for path in paths if path.endswith(("site-packages", "dist-packages"))]
    (packages / "parent.pth").write_text("\n".join(theirs))
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def interpreter(wheel, tmp_path_factory):
    """Python of an environment with the wheel and this Python's packages."""
    return environment_beside(tmp_path_factory.mktemp("environment"), wheel)


def run_clean(python: Path, *arguments: str) -> str:
    """What the environment's Python prints, away from the checkout."""
    clean = {"PYTHONPATH": "", "LD_LIBRARY_PATH": ""}
    return command(python, "-P" if sys.version_info >= (3, 11) else "-E", *arguments, **clean)


# The OpenMP libraries in a process that has run an operation of both, by the order of the imports.
OPENMP = """
import re, sys
import numpy as np
for name in sys.argv[1:]:
    __import__(name)
import postlude, torch
torch.ones(300, 300) @ torch.ones(300, 300)
x = np.ones((64, 300), "float32")
assert postlude.ops.linear(x, x).sum() == 64 * 64 * 300
with open("/proc/self/maps", encoding="utf-8") as maps:
    files = {line.split()[-1] for line in maps}
print(*sorted(file for file in files if re.search(r"/lib(gomp|iomp|omp)[^/]*$", file)), sep="\\n")
"""


def has_cuda(library: Path) -> bool:
    """Whether a library holds code for GPUs."""
    return ".nv_fatbin" in command("readelf", "-S", "-W", library)


def test_the_list_of_architectures_is_read():
    text = "cuda: toolkit 13.0, architectures 80-real, 90, 100-virtual, 90a-real, CUTLASS 4.2.0\n"
    expected = {"sm_80", "sm_90", "compute_90", "compute_100", "sm_90a"}
    assert check_architectures.published(text) == expected
    with pytest.raises(ValueError, match="no list of architectures"):
        check_architectures.published("cuda: not built\n")


# Every op once, on arrays; then no GPU has a context of this process, and whether torch is there.
WITHOUT_TORCH = """
import ctypes, importlib.util, sys
import numpy as np
import postlude
from postlude import ops

generator = np.random.default_rng(0)
x, w, b = (generator.standard_normal(s, dtype="float32") for s in ((7, 33), (20, 33), (20,)))
norm = postlude.RMSNorm(np.ones(33, "float32"), 1e-5)
normed = x / np.sqrt((x.astype("float64") ** 2).mean(-1, keepdims=True) + 1e-5)
for out, expected in (
    (ops.linear(x, w, b, activation="relu"), np.maximum(x.astype("float64") @ w.T + b, 0)),
    (ops.qkv(x, w, b, norm=norm), normed @ w.T + b),
    (ops.mlp(x, w, w.T, activation="relu"), x + np.maximum(x.astype("float64") @ w.T, 0) @ w),
    (ops.norm(x, norm), normed),
):
    np.testing.assert_allclose(np.asarray(out), expected, rtol=1e-4, atol=1e-4)
try:
    driver = ctypes.CDLL("libcuda.so.1")
except OSError:
    driver = None
if driver is not None and driver.cuInit(0) == 0:
    flags, active = ctypes.c_uint(), ctypes.c_int(-1)
    state = driver.cuDevicePrimaryCtxGetState(0, ctypes.byref(flags), ctypes.byref(active))
    assert (state, active.value) == (0, 0)
print(importlib.util.find_spec("torch") is not None or "torch" in sys.modules)
"""


@needs_wheel
@pytest.mark.slow
class TestWheel:
    def test_is_small(self, wheel, library):
        assert wheel.stat().st_size < MAX_BYTES["cuda" if has_cuda(library) else "cpu"]

    def test_is_complete(self, wheel, names):
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

    @pytest.mark.skipif(bool(WHEEL), reason="POSTLUDE_WHEEL names the wheel to test")
    def test_pip_makes_the_same_of_the_checkout_offline(self, wheel, names, tmp_path):
        options = ["--no-build-isolation", "--no-deps", f"--config-settings=build-dir={tmp_path}/b"]
        pip = [sys.executable, "-m", "pip", "wheel", *options, f"--wheel-dir={tmp_path}"]
        command("env", f"--chdir={ROOT}", *pip, ".", **OFFLINE)
        (file,) = tmp_path.glob("*.whl")
        assert file.name == wheel.name
        assert sorted(files_in(file)) == sorted(names)

    @needs_auditwheel
    def test_auditwheel_tags_it_and_puts_no_library_in(self, manylinux, names, tmp_path):
        platforms = manylinux.stem.split("-")[-1].split(".")
        machine = os.uname().machine
        assert all(re.fullmatch(rf"manylinux[\d_]+_{machine}", name) for name in platforms)
        assert sorted(files_in(manylinux)) == sorted(names)
        with zipfile.ZipFile(manylinux) as archive:
            (file,) = (name for name in names if name.startswith("postlude/lib/libpostlude.so"))
            needed = command("readelf", "-d", archive.extract(file, tmp_path))
        assert "[libdnnl.so.3]" in needed  # by their own names: a copy put in has another
        assert "[libgomp.so.1]" in needed

    def test_exports_nothing_but_the_interface(self, library):
        check_exports(library)
        (extension,) = library.parent.parent.glob("_C*.so")
        assert exported_symbols(extension) == ["PyInit__C"]

    def test_finds_the_thread_pool_and_onednn_outside(self, library):
        needed = set(re.findall(r"\[(lib\S+)\]", command("readelf", "-d", library)))
        assert {"libdnnl.so.3", "libgomp.so.1"} <= needed
        assert not {name for name in needed if name.startswith(("libcu", "libtorch", "libpython"))}

    def test_holds_code_for_the_architectures_that_it_tells_of(self, interpreter, library):
        told = run_clean(interpreter, "-c", "import postlude; print(postlude.show_config())")
        assert ("cuda: not built" in told) != has_cuda(library)
        if has_cuda(library):
            architectures = check_architectures.published(told)
            assert check_architectures.held(library) == architectures
            if WHEEL:  # as it is shipped
                assert {"sm_80", "sm_90a"} <= architectures
                assert any(name.startswith("compute_") for name in architectures)

    def test_works_away_from_the_checkout(self, interpreter):
        code = "import numpy, postlude; x = numpy.eye(3, dtype='float32')\n"
        code += "print(postlude.__file__, postlude.ops.linear(x, x).sum())"
        file, total = run_clean(interpreter, "-c", code).split()
        assert Path(file).is_relative_to(interpreter.parent.parent)
        assert total == "3.0"

    def test_works_without_torch(self, wheel, tmp_path):
        packages = environment(tmp_path, wheel)
        (numpy,) = importlib.util.find_spec("numpy").submodule_search_locations
        for folder in Path(numpy).parent.glob("numpy*"):  # numpy.libs has libraries of its own
            (packages / folder.name).symlink_to(folder)
        assert run_clean(tmp_path / "bin" / "python", "-c", WITHOUT_TORCH) == "False\n"

    def test_names_the_package_that_is_missing(self, wheel, tmp_path):
        environment(tmp_path, wheel)
        (tmp_path / "lib" / "libdnnl.so.3").unlink()
        program = (tmp_path / "bin" / "python", "-c", "import postlude.ops")
        said = command(*program, fails=True, PYTHONPATH="", LD_LIBRARY_PATH="").splitlines()[-1]
        help_ = "install it with 'pip install onednn-cpu-gomp==2023.2.0' (libdnnl.so.3: cannot open"
        assert help_ in said

    @pytest.mark.parametrize("python", [name for name in PYTHONS if name])
    def test_works_with_torch(self, wheel, tmp_path, python):
        beside = environment_beside(tmp_path, wheel, python)
        code = "import postlude, torch; print(torch.__version__, postlude.__file__)"
        version, file = run_clean(beside, "-c", code).split()
        assert Path(file).is_relative_to(tmp_path)
        suites = [ROOT / "tests" / name for name in SUITES]
        output = run_clean(beside, "-m", "pytest", "-q", "-p", "no:cacheprovider", *suites)
        assert re.search(r"^[1-9]\d{2,} passed", output, re.MULTILINE), output
        print(f"torch {version}: {output.splitlines()[-1]}")

    @pytest.mark.parametrize("order", ["torch postlude", "postlude torch"])
    @pytest.mark.parametrize("python", [name for name in PYTHONS if name])
    def test_brings_no_thread_pool_beside_that_of_torch(self, wheel, tmp_path, python, order):
        beside = environment_beside(tmp_path, wheel, python)
        loaded = run_clean(beside, "-c", OPENMP, *order.split()).splitlines()
        assert loaded
        assert not [file for file in loaded if Path(file).is_relative_to(tmp_path)]
        folder = Path(run_clean(beside, "-c", "import torch; print(torch.__path__[0])").strip())
        own = [*folder.glob("lib/libgomp*"), *folder.parent.glob("torch.libs/libgomp*")]
        # docs/settings.md: one that is loaded late is not known by another name.
        late = order == "postlude torch" and bool(own)
        second = late and "libgomp.so.1" not in {file.name for file in own}
        assert len(loaded) == (2 if second else 1), loaded

    def test_installs_the_command(self, interpreter):
        script = interpreter.with_name("postlude")
        folder = command(script, "--cmake-dir", PYTHONPATH="").strip()
        assert Path(folder).is_relative_to(interpreter.parent.parent)
        assert f"CMake package: {folder}" in command(script, "info", PYTHONPATH="")

    @needs_cmake
    @pytest.mark.parametrize("language", LANGUAGES)
    def test_programs_build_against_it(self, interpreter, tmp_path, language):
        folder = run_clean(interpreter, "-m", "postlude", "--cmake-dir").strip()
        wanted = f"-Dpostlude_DIR={folder}"
        output = run_example(tmp_path, language, Path(folder), wanted, LD_LIBRARY_PATH="")
        assert output == RESULT_OF_EXAMPLES
