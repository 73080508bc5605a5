"""What the sources read from the environment and from CMake's cache, for the tests of what is said
about it."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_READ = re.compile(r"(?:getenv\(|environ\S*?[\[(])\"(POSTLUDE_\w+)\"")
_OPTION = re.compile(r"^(?:option\((POSTLUDE_\w+) |set\((POSTLUDE_\w+) \S+ CACHE )", re.MULTILINE)


def _texts(folders: Iterable[str], suffixes: tuple[str, ...]) -> Iterator[str]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.name.endswith(suffixes):
                yield path.read_text(encoding="utf-8")


def environment_variables(*folders: str) -> set[str]:
    """The variables of ours that sources in these folders read."""
    suffixes = (".c", ".cpp", ".cu", ".cuh", ".hpp", ".py")
    return {name for text in _texts(folders, suffixes) for name in _READ.findall(text)}


def cmake_options() -> set[str]:
    """The options of ours that the build has."""
    texts = [(ROOT / "CMakeLists.txt").read_text(encoding="utf-8")]
    texts += _texts(
        ("benchmarks", "bindings", "cmake", "cpp_tests", "fuzz", "src"),
        ("CMakeLists.txt", ".cmake"),
    )
    return {one or other for text in texts for one, other in _OPTION.findall(text)}
