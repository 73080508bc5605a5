"""The blocks of code in a Markdown file, and the commands in them, which tests run or compile."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def blocks(path: Path, language: str) -> list[str]:
    """Every block of code in that language, in order; there is at least one."""
    found: list[str] = re.findall(
        rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert found, f"{path.name} has no block of {language}"
    return found


def commands_of(path: Path) -> list[list[str]]:
    """The words of every command in a file's blocks of sh."""
    lines = [line for block in blocks(path, "sh") for line in block.splitlines()]
    parts = [part for line in lines for part in line.split("&&")]
    return [words for part in parts if (words := shlex.split(part, comments=True))]


def compile_text(text: str, standard: str) -> None:
    """Has the compiler look at a program in C or C++; a warning is an error."""
    in_cpp = "++" in standard
    compiler = shlex.split(os.environ.get("CXX" if in_cpp else "CC", "c++" if in_cpp else "cc"))
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"no compiler {compiler[0]}")
    command = [*compiler, f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    command += [f"-I{ROOT / 'include'}", "-x", "c++" if in_cpp else "c", "-"]
    run = subprocess.run(command, input=text, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
