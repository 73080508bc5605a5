"""``python -m postlude``: what a build system asks of an installed postlude."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def cmake_dir() -> Path | None:
    """The folder of ``postludeConfig.cmake`` in this wheel; None where postlude is a checkout."""
    folder = PACKAGE / "lib" / "cmake" / "postlude"
    return folder if (folder / "postludeConfig.cmake").is_file() else None


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m postlude", description=__doc__)
    parser.add_argument(
        "--cmake-dir",
        action="store_true",
        help="print the folder of the CMake package, for -Dpostlude_DIR=...",
    )
    options = parser.parse_args(arguments)
    if options.cmake_dir:
        folder = cmake_dir()
        if folder is None:
            print(
                f"[postlude] --cmake-dir: expected an installed wheel, got {PACKAGE}, which has no "
                "CMake package: install postlude with pip, or the library with 'cmake --install'",
                file=sys.stderr,
            )
            return 1
        print(folder)
        return 0
    parser.print_help()
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
