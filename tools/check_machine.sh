#!/bin/sh
# Says whether this machine can build Postlude and, when it cannot, what to install.
python=${1:-python3}
missing=0

lacking() {
    printf 'Missing: %s\n  Debian, Ubuntu: sudo apt install %s\n  Fedora, RHEL:   sudo dnf install %s\n' \
        "$1" "$2" "$3" >&2
    missing=1
}

if ! command -v "$python" >/dev/null 2>&1; then
    lacking "Python 3.10 or newer ($python was not found)" python3 python3
elif ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    lacking "Python 3.10 or newer ($python is $("$python" -V 2>&1)); another one is chosen by make PYTHON=..." \
        python3.12 python3.12
else
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        lacking "Python's modules venv and ensurepip (they bring pip)" python3-venv python3-pip
    "$python" -c 'import os, sysconfig
raise SystemExit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
        lacking "Python's C headers (Python.h)" python3-dev python3-devel
fi

compiler=${CXX:-c++}
source='#include <string_view>
int main() { std::string_view s; return static_cast<int>(s.size()); }'
# $compiler is left unquoted on purpose: CXX may hold a launcher, as in "ccache g++".
if ! printf '%s\n' "$source" | $compiler -std=c++17 -x c++ -fsyntax-only - >/dev/null 2>&1; then
    lacking "a C++17 compiler ($compiler does not compile; another one is chosen by CXX=...)" g++ gcc-c++
fi
exit $missing
