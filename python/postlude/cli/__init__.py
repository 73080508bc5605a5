"""The ``postlude`` command: what is installed, how a problem would run, how fast, and faster."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import bench, demo, explain, info, tune

_PACKAGE = Path(__file__).resolve().parent.parent
_COMMANDS = (info, explain, bench, tune, demo)


def cmake_dir() -> Path | None:
    """The folder of ``postludeConfig.cmake`` in this wheel; None where postlude is a checkout."""
    folder = _PACKAGE / "lib" / "cmake" / "postlude"
    return folder if (folder / "postludeConfig.cmake").is_file() else None


def _print_cmake_dir() -> int:
    folder = cmake_dir()
    if folder is None:
        print(
            f"[postlude] --cmake-dir: expected an installed wheel, got {_PACKAGE}, which has no "
            "CMake package: install postlude with pip, or the library with 'cmake --install'",
            file=sys.stderr,
        )
        return 1
    print(folder)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command; each subcommand sets ``run``, a function of its options."""
    parser = argparse.ArgumentParser(
        prog="postlude", description="What is installed, how a problem would run, and how fast."
    )
    parser.add_argument(
        "--cmake-dir",
        action="store_true",
        help="print the folder of the CMake package, for -Dpostlude_DIR=...",
    )
    commands = parser.add_subparsers(metavar="COMMAND")
    for command in _COMMANDS:
        command.add_to(commands)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status: 1 for an error, with its text on stderr."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.cmake_dir:
        return _print_cmake_dir()
    if not hasattr(options, "run"):
        parser.print_help(sys.stderr)
        return 2
    try:
        status: int = options.run(options)
    except (ValueError, NotImplementedError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return status
