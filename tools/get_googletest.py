"""Installs GoogleTest into a prefix, so that CMake's find_package(GTest) finds it there.

No package index carries GoogleTest by itself. The source distribution of grpcio holds a complete
copy of its sources: this program has pip download that one file, compiles GoogleTest from it and
throws the rest away. Where that fails, a GoogleTest of the system will do.

Usage: python tools/get_googletest.py PREFIX [pip argument ...]
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

CARRIER = "grpcio==1.85.1"
CARRIER_SHA256 = "5f530287d5de5f7f66089ead81de44f6787162944dab3922efa65dfdff108a1d"
INSIDE = "third_party/boringssl-with-bazel/third_party/googletest/googletest/"
PROBE = "#include <gtest/gtest.h>\nTEST(Probe, Runs) {}\n"


def compiler() -> list[str]:
    """The C++ compiler's command: that of CXX, which may hold arguments, or c++."""
    return shlex.split(os.environ.get("CXX", "")) or ["c++"]


def download(folder: Path, pip_arguments: list[str]) -> Path:
    """Has pip put the carrier's source distribution into `folder`, and checks its digest."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *pip_arguments]
    command += ["--no-binary=:all:", "--no-build-isolation", f"--dest={folder}", CARRIER]
    if subprocess.run(command).returncode != 0:
        raise ValueError(f"pip could not download {CARRIER}")
    (archive,) = folder.glob("*.tar.gz")
    if hashlib.sha256(archive.read_bytes()).hexdigest() != CARRIER_SHA256:
        raise ValueError(f"{archive.name} is not the file it should be (its sha256 differs)")
    return archive


def extract(archive: Path, folder: Path) -> None:
    """Writes GoogleTest's own files, and nothing else of the archive, under `folder`."""
    with tarfile.open(archive) as tar:
        for member in tar:
            _, _, name = member.name.partition(INSIDE)
            if not name or not member.isfile():
                continue
            data = tar.extractfile(member)
            assert data is not None
            target = folder / name
            if not target.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{archive.name} holds a path outside its folder: {member.name}")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data.read())


def build(source: Path, prefix: Path) -> None:
    """Compiles both of GoogleTest's libraries and installs them with the headers."""
    for library, file in (("gtest", "gtest-all.cc"), ("gtest_main", "gtest_main.cc")):
        object_file = source / f"{library}.o"
        includes = ["-isystem", str(source / "include"), "-I", str(source)]
        flags = ["-std=c++17", "-O1", "-fPIC", "-pthread", "-c"]
        subprocess.run(
            [*compiler(), *flags, *includes, str(source / "src" / file), "-o", str(object_file)],
            check=True,
        )
        archive = prefix / "lib" / f"lib{library}.a"
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.unlink(missing_ok=True)
        subprocess.run(["ar", "rcs", str(archive), str(object_file)], check=True)
    for header in (source / "include").rglob("*.h"):
        target = prefix / "include" / header.relative_to(source / "include")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(header.read_bytes())


def system_has_googletest(folder: Path) -> bool:
    """Whether a program that uses GoogleTest compiles and links with what the system has."""
    (folder / "probe.cpp").write_text(PROBE)
    command = [*compiler(), "-std=c++17", "probe.cpp", "-lgtest", "-lgtest_main", "-pthread"]
    return subprocess.run(command, cwd=folder, stderr=subprocess.DEVNULL).returncode == 0


def main(prefix: str, *pip_arguments: str) -> int:
    """Installs GoogleTest into `prefix`; returns the exit status."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        try:
            archive = download(folder, list(pip_arguments))
            extract(archive, folder / "googletest")
            build(folder / "googletest", Path(prefix))
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            if system_has_googletest(folder):
                print(f"Using the system's GoogleTest ({error})")
                return 0
            print(f"GoogleTest could not be had: {error}", file=sys.stderr)
            print("Install it by hand, then run this again:", file=sys.stderr)
            print("  Debian, Ubuntu: sudo apt install libgtest-dev", file=sys.stderr)
            print("  Fedora, RHEL:   sudo dnf install gtest-devel", file=sys.stderr)
            return 1
    print(f"GoogleTest is in {prefix}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    raise SystemExit(main(*sys.argv[1:]))
