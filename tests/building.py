"""CMake, compilers and other commands as the tests of what is installed run them."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from markdown import commands_of

ROOT = Path(__file__).resolve().parent.parent
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
CMAKE = shutil.which("cmake", path=PATH)
# The languages of the programs in examples/, each with what it asks of CMake.
LANGUAGES = ["c++17", "c++20", "c99"]
RESULT_OF_EXAMPLES = "out = 3 4 4 3\n"
BUILT = ROOT / "build" / "release"  # where `make test` builds a static library
BUILT_FOR_GPU = ROOT / "build" / "gpu"  # where tools/gpu.sh builds one
GUIDE = ROOT / "docs" / "guides" / "cpp.md"


def command(*arguments: object, fails: bool = False, **environment: str) -> str:
    """What a command that must succeed, or must fail, prints."""
    run = subprocess.run(
        [str(argument) for argument in arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PATH": PATH, **environment},
    )
    assert (run.returncode != 0) == fails, run.stdout
    return run.stdout


def configure(source: Path, build: Path, *arguments: str, fails: bool = False) -> str:
    """What CMake prints when it configures a project."""
    return command(CMAKE, "-S", source, "-B", build, *tools(), *arguments, fails=fails)


def tools() -> list[str]:
    """Arguments of CMake for a new build: what it builds with, and this Python."""
    generator = ["-GNinja"] if shutil.which("ninja", path=PATH) else []
    return [*generator, f"-DPython_EXECUTABLE={sys.executable}"]


def compile_all(build: Path) -> None:
    """Builds a configured project."""
    command(CMAKE, "--build", build, "--parallel", os.cpu_count() or 1)


def read_cache(build: Path) -> dict[str, str]:
    """The variables in a build's cache."""
    text = (build / "CMakeCache.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^(\w+):\w+=(.*)$", text, re.MULTILINE))


@dataclass
class Tree:
    """An installed library, static or shared."""

    prefix: Path
    kind: str
    cache: dict[str, str]  # of the build

    @property
    def dependencies(self) -> list[str]:
        """The folders of the libraries that it links and that the system may not find."""
        folders = [str(Path(self.cache["dnnl_DIR"]).parents[1])]
        cudart = self.cache.get("CUDA_cudart_static_LIBRARY")
        return folders + ([str(Path(cudart).parent)] if cudart else [])

    @property
    def search(self) -> dict[str, str]:
        """The variable of the environment by which a program finds those libraries."""
        folders = [*self.dependencies, os.environ.get("LD_LIBRARY_PATH", "")]
        return {"LD_LIBRARY_PATH": os.pathsep.join(filter(None, folders))}


def follow_the_guide(kind: str, scratch: Path) -> Path:
    """Builds and installs by the commands of docs/guides/cpp.md, in folders under scratch and
    without optimisation, which is quicker. Returns the folder of the build."""
    build, shared = scratch / "build", "ON" if kind == "shared" else "OFF"
    places = {".": ROOT, "build/cpp": build, "/opt/postlude": scratch / "prefix"}
    quick = [f"-DBUILD_SHARED_LIBS={shared}", "-DCMAKE_BUILD_TYPE=Debug", "-DPOSTLUDE_CUDA=OFF"]
    for program, *words in commands_of(GUIDE):
        assert program == "cmake", program
        added = [*tools(), *quick] if "-S" in words else []
        command(CMAKE, *(places.get(word, word) for word in words), *added)
    return build


def install(kind: str, scratch: Path, own: Path = BUILT) -> Tree:
    """The library installed under scratch: the checkout's own build where there is one of that
    kind, else what the guide's commands build."""
    prefix = scratch / "prefix"
    if kind == "static" and (own / "CMakeCache.txt").exists():
        cache = read_cache(own)
        if cache.get("BUILD_SHARED_LIBS", "OFF") == "OFF" and cache["POSTLUDE_INSTALL"] == "ON":
            command(CMAKE, "--build", own, "--target", "postlude")
            command(CMAKE, "--install", own, "--prefix", prefix, "--component", "cpp")
            return Tree(prefix, kind, cache)
    return Tree(prefix, kind, read_cache(follow_the_guide(kind, scratch)))


def install_for_tests(scratch: Path) -> Tree:
    """The static library as the programs of this machine's tests link it: on a GPU machine with
    CUDA, where tools/gpu.sh has built it."""
    import torch

    with_gpu = torch.cuda.is_available() and BUILT_FOR_GPU.exists()
    return install("static", scratch, BUILT_FOR_GPU if with_gpu else BUILT)


def run_example(build: Path, language: str, package: Path, *arguments: str, **environment) -> str:
    """What the example of a language prints, built alone against a CMake package in a folder."""
    if language != "c99":  # which examples/c asks for itself
        arguments += (f"-DCMAKE_CXX_STANDARD={language.removeprefix('c++')}",)
        arguments += ("-DCMAKE_CXX_STANDARD_REQUIRED=ON", "-DCMAKE_CXX_EXTENSIONS=OFF")
    source = build.with_name(f"{build.name}-source")  # nothing of the checkout lies above it
    shutil.copytree(ROOT / "examples" / ("c" if language == "c99" else "cpp"), source)
    configure(source, build, *arguments)
    assert Path(read_cache(build)["postlude_DIR"]).is_relative_to(package)
    compile_all(build)
    (program,) = build.glob("postlude*_example")
    return command(program, **environment)


def exported_symbols(library: Path) -> list[str]:
    """The names that a shared library defines for others."""
    lines = command("nm", "-D", "--defined-only", "--format=posix", library).splitlines()
    return [line.split()[0] for line in lines]


def check_exports(library: Path) -> None:
    """Expects names in postlude::v1, the type information of its classes and C functions: nothing
    of postlude::detail, of the standard library's templates, CUTLASS or oneDNN."""
    own = re.compile(r"_Z(N|NK|TIN|TSN|TVN)8postlude2v\d|postlude_")
    symbols = exported_symbols(library)
    assert any("6linear" in symbol for symbol in symbols)
    assert [symbol for symbol in symbols if not own.match(symbol)] == []
    header = (ROOT / "include" / "postlude" / "postlude.h").read_text(encoding="utf-8")
    functions = re.findall(r"^POSTLUDE_API .*?\b(postlude_\w+)\(", header, re.MULTILINE | re.DOTALL)
    assert len(functions) > 40
    assert set(functions) <= set(symbols)
