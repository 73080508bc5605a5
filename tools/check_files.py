"""Checks the house rules that no formatter knows, over every text file of the repository.

Usage: python tools/check_files.py [file ...]   (without files: all that git tracks or would add)
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_LINES = 500
MAX_BYTES = 500_000
COMMENT_OF = {
    ".py": '"""',
    ".hpp": "//",
    ".c": "//",
    ".h": "//",
    ".cpp": "//",
    ".cu": "//",
    ".cuh": "//",
    ".cmake": "#",
    ".sh": "#",
}
TABS_ALLOWED = {"Makefile"}
NOT_SOURCE = {"LICENSE"}


def opening(lines: list[str], mark: str) -> str:
    """The first paragraph of the comment that opens a file, or "" where there is none."""
    body = lines[1:] if lines and lines[0].startswith("#!") else lines
    if not body or not body[0].startswith(mark):
        return ""
    paragraph = []
    for line in body:
        if mark == '"""':
            text = line.replace(mark, "").strip()
        elif line.startswith(mark):
            text = line[len(mark) :].strip()
        else:
            break
        if not text:
            break
        paragraph.append(text)
        if mark == '"""' and line.rstrip().endswith(mark):
            break
    return " ".join(paragraph)


def source_problems(path: Path, lines: list[str]) -> Iterator[str]:
    """What is wrong with a file of code: too long, or no sentence that says its subject."""
    mark = "#" if path.name == "CMakeLists.txt" else COMMENT_OF.get(path.suffix)
    if mark is None:
        return
    if len(lines) >= MAX_LINES:
        yield f"has {len(lines)} lines; the limit is {MAX_LINES - 1}: split it by subject"
    if lines and ". " not in (sentence := opening(lines, mark)) and not sentence.endswith("."):
        yield "does not open with a sentence that says what it is for"


def problems(path: Path) -> Iterator[str]:
    """Every problem of one file, as text."""
    data = path.read_bytes()
    if len(data) > MAX_BYTES:
        yield f"has {len(data)} bytes; the limit is {MAX_BYTES}"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return
    lines = text.splitlines()
    if text and (not text.endswith("\n") or text.endswith("\n\n")):
        yield "does not end with exactly one newline"
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            yield f"{number}: blanks at the end of the line"
        if "\t" in line and path.name not in TABS_ALLOWED:
            yield f"{number}: a tab"
        if line.startswith(("<<<<<<< ", ">>>>>>> ")):
            yield f"{number}: a merge conflict"
    yield from source_problems(path, lines)


def repository_files() -> list[str]:
    """All files that git tracks, and those it would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def main(names: list[str]) -> int:
    """Prints the problems of the files named, or of all; returns 1 if there are any."""
    count = 0
    for path in map(Path, names or repository_files()):
        if path.name in NOT_SOURCE or not path.is_file():
            continue
        for problem in problems(path):
            print(f"{path}: {problem}")
            count += 1
    return int(count > 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
