"""Loads the compiled core ``_C``, after the oneDNN library that it needs."""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
from types import ModuleType

_PACKAGE = "onednn-cpu-gomp"
_LIBRARY = "libdnnl.so.3"
_HELP = (
    f"postlude needs oneDNN's {_LIBRARY}, which the Python package {_PACKAGE} brings: "
    f"install it with 'pip install {_PACKAGE}==2023.2.0'"
)


def _preload() -> None:
    """Loads the library from wherever pip put it; without the package, the system's may serve."""
    try:
        files = importlib.metadata.files(_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for file in files:
        if file.name == _LIBRARY:
            try:
                ctypes.CDLL(str(file.locate()))
            except OSError as error:
                raise ImportError(
                    f"{_HELP}. It is installed, but cannot be loaded: {error}. Where libgomp.so.1 "
                    "is missing, install the system's GNU OpenMP library (Debian and Ubuntu: apt "
                    "install libgomp1)"
                ) from error
            return


def load() -> ModuleType:
    """The module ``postlude._C``. ImportError, with what to install, where a library is missing."""
    _preload()
    try:
        return importlib.import_module("._C", __package__)
    except ModuleNotFoundError as error:
        raise ImportError(
            "postlude's compiled core is missing: install the wheel with 'pip install postlude', "
            "or build this checkout with 'make build'"
        ) from error
    except ImportError as error:
        if "libdnnl" not in str(error):
            raise
        raise ImportError(f"{_HELP} ({error})") from error
