"""``postlude info``: versions, backends, architectures, GPUs and environment variables."""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import json
import os
import platform
from typing import Any

# What the library and this package read, with what each does. tests/test_cli.py compares the names
# with the sources.
ENVIRONMENT = {
    "POSTLUDE_CACHE_DIR": "where postlude.triton keeps the tiles that it has timed",
    "POSTLUDE_CPU_ISA": "baseline, avx2 or avx512: the CPU's vector code, instead of the best",
    "POSTLUDE_PDL": "0: kernels wait for the one ahead before they start",
    "POSTLUDE_STRICT": "1: postlude.compat.deepspeed never falls back to PyTorch",
    "POSTLUDE_TUNE_FILE": "the tiles that postlude tune found faster, for calls on a GPU",
}
# Not postlude's own, but its CPU backend obeys them.
_OTHERS = {
    "OMP_NUM_THREADS": "the CPU backend's threads",
    "ONEDNN_MAX_CPU_ISA": "the most that oneDNN uses of the CPU",
    "CUDA_VISIBLE_DEVICES": "the GPUs that there are",
}
_PACKAGES = ("numpy", "onednn-cpu-gomp", "torch", "transformers", "triton")
# CUdevice_attribute: the two parts of the compute capability.
_CAPABILITY = (75, 76)


def add_to(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser("info", help=__doc__.partition(": ")[2], description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def gpus() -> list[dict[str, Any]] | str:
    """Each GPU's name, compute capability and bytes, asked of the driver, which makes no context;
    a sentence where there is no driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no CUDA driver"
    if (code := driver.cuInit(0)) != 0:
        return f"the CUDA driver answers with error {code}"
    count = ctypes.c_int()
    driver.cuDeviceGetCount(ctypes.byref(count))
    found = []
    for index in range(count.value):
        device, total = ctypes.c_int(), ctypes.c_size_t()
        name, part = ctypes.create_string_buffer(256), ctypes.c_int()
        driver.cuDeviceGet(ctypes.byref(device), index)
        driver.cuDeviceGetName(name, len(name), device)
        driver.cuDeviceTotalMem_v2(ctypes.byref(total), device)
        capability = []
        for attribute in _CAPABILITY:
            driver.cuDeviceGetAttribute(ctypes.byref(part), attribute, device)
            capability.append(part.value)
        found.append(
            {
                "name": name.value.decode(),
                "capability": f"{capability[0]}.{capability[1]}",
                "bytes": total.value,
            }
        )
    return found


def tune_file() -> str:
    """What the file that POSTLUDE_TUNE_FILE names is for, or what is wrong with it."""
    import postlude

    path = os.environ.get("POSTLUDE_TUNE_FILE")
    if not path:
        return "none"
    try:
        table = postlude._interop._C.TuneTable.read(path)
    except ValueError as error:
        return str(error)
    _, version, *gpu = table.header.splitlines()
    return f"{path}: {len(table.entries)} entries for {', '.join(gpu)}, {version}"


def collect() -> dict[str, Any]:
    """All that the command prints."""
    import postlude

    from . import cmake_dir

    packages: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            packages[name] = None
    version, *backends = postlude.show_config().strip().splitlines()
    folder = cmake_dir()
    return {
        "version": version.partition(" ")[2],
        "backends": dict(line.split(": ", 1) for line in backends),
        "gpus": gpus(),
        "python": f"{platform.python_version()} on {platform.platform()}",
        "packages": packages,
        "extension": postlude._interop._C.__file__,
        "cmake_dir": None if folder is None else str(folder),
        "tune_file": tune_file(),
        "environment": {name: os.environ.get(name) for name in (*ENVIRONMENT, *_OTHERS)},
    }


def _lines(found: dict[str, Any]) -> list[str]:
    lines = [f"postlude {found['version']}"]
    lines += [f"  {name}: {text}" for name, text in found["backends"].items()]
    if isinstance(found["gpus"], str):
        lines += [f"  GPUs: {found['gpus']}"]
    for index, gpu in enumerate(found["gpus"] if isinstance(found["gpus"], list) else []):
        gigabytes = gpu["bytes"] / 2**30
        lines += [f"  GPU {index}: {gpu['name']}, sm_{gpu['capability'].replace('.', '')}, "]
        lines[-1] += f"{gigabytes:.0f} GiB"
    lines += [f"  extension: {found['extension']}"]
    lines += [f"  CMake package: {found['cmake_dir'] or 'none, this is a checkout'}"]
    lines += [f"  tune file: {found['tune_file']}"]
    lines += ["", f"Python {found['python']}"]
    lines += [
        f"  {name}: {version or 'not installed'}" for name, version in found["packages"].items()
    ]
    lines += ["", "Environment"]
    for name, meaning in {**ENVIRONMENT, **_OTHERS}.items():
        value = found["environment"][name]
        lines += [f"  {name}{'' if value is None else '=' + value}: {meaning}"]
    return lines


def run(options: argparse.Namespace) -> int:
    """Prints it."""
    found = collect()
    print(json.dumps(found, indent=2) if options.json else "\n".join(_lines(found)))
    return 0
