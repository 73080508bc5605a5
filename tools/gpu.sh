#!/bin/bash
# Builds, tests and benchmarks Postlude on a machine with an NVIDIA GPU, nvcc and a Python that has torch for CUDA.
#
#   tools/gpu.sh [step ...]     steps: setup build ctest pytest sanitize bench (default: all, in this order)
#
#   PYTHON=python3              the Python that has torch
#   OUT=benchmarks/results/gpu  where logs and results go
#   PIP_ARGS='...'              for every pip install: '--no-index --find-links DIR' on a machine without internet
#   PREFIX=DIR                  more for CMAKE_PREFIX_PATH: a GoogleTest, where pip cannot fetch one
#   CMAKE_ARGS=...              more for CMake
#   ARCHITECTURES='80;90'       CMAKE_CUDA_ARCHITECTURES
#
# A GPU test that cannot run fails here: POSTLUDE_REQUIRE_GPU=1. The exit status is that of the worst step.
set -u -o pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-benchmarks/results/gpu}
PYTHON=${PYTHON:-python3}
venv=$PWD/.venv-gpu
build=build/gpu
export POSTLUDE_REQUIRE_GPU=1 HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
mkdir -p "$OUT"
status=0

setup() {
    [ -x "$venv/bin/python" ] || "$PYTHON" -m venv "$venv" || return
    # PYTHON may itself be that of an environment: its packages (torch, pytest) are seen through a .pth file.
    local purelib='import sysconfig; print(sysconfig.get_path("purelib"))' site
    site=$("$venv/bin/python" -c "$purelib") || return
    { echo "$PWD/python" && "$PYTHON" -c "$purelib"; } >"$site/postlude.pth" || return
    # shellcheck disable=SC2086 # PIP_ARGS holds several arguments
    "$venv/bin/python" -m pip install -q --disable-pip-version-check ${PIP_ARGS:-} --no-deps \
        nanobind~=3.1 ninja onednn-devel-cpu-gomp==2023.2.0 onednn-cpu-gomp==2023.2.0 nvidia-cutlass==4.2.0.0 || return
    if [ -z "${PREFIX:-}" ]; then
        # shellcheck disable=SC2086
        "$venv/bin/python" tools/get_googletest.py "$venv" ${PIP_ARGS:-} || return
    fi
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
}

build() {
    local ninja
    ninja=$(PATH="$venv/bin:$(dirname "$(command -v "$PYTHON")"):$PATH" command -v ninja) || return
    cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_MAKE_PROGRAM="$ninja" \
        -DCMAKE_PREFIX_PATH="$venv;${PREFIX:-}" -DPython_EXECUTABLE="$venv/bin/python" \
        ${CMAKE_ARGS:-} -DPOSTLUDE_CUDA=ON ${ARCHITECTURES:+-DCMAKE_CUDA_ARCHITECTURES="$ARCHITECTURES"} -DPOSTLUDE_BUILD_PYTHON=ON &&
        cmake --build $build --parallel
}

ctest_() { ctest --test-dir $build --output-on-failure --no-tests=error --parallel 4; }
pytest_() { "$venv/bin/python" -m pytest -q --ignore=tests/test_demo.py --ignore=tests/test_packaging.py \
    --ignore=tests/test_install.py; }

sanitize() {
    command -v compute-sanitizer >/dev/null || { echo "compute-sanitizer is not installed"; return 1; }
    local tool tests='LinearTest.Exact*/cuda*:NormTest.EveryRowCount/cuda*:MlpTest.Exact*/cuda*:QkvTest.Exact*/cuda*'
    tests+=':MlpTest.FewLongRows*/cuda_bf16'
    for tool in memcheck racecheck initcheck synccheck; do
        echo "--- $tool"
        # The barriers of all Hopper tiles one after another overflow what synccheck keeps track of.
        compute-sanitizer --tool $tool --error-exitcode 9 $build/cpp_tests/postlude_tests --gtest_brief=1 \
            --gtest_filter="$tests$([ $tool = synccheck ] || echo ':Sm90Tiles.Small*')" || return
    done
}

bench() {
    # BENCH_ARGS replaces these: --budget bounds what torch.compile may take, --stop-after the whole.
    local failed=0 blocks=benchmarks/gpu_blocks.py arguments=${BENCH_ARGS:---budget 300 --stop-after 480}
    local decode='1 2 4 8 16 32 37 64 96'
    "$venv/bin/python" benchmarks/gpu_norms.py --json "$OUT" || failed=1
    "$venv/bin/python" benchmarks/gpu_host_cost.py --json "$OUT/host_cost.json" || failed=1
    # shellcheck disable=SC2086 # several arguments
    "$venv/bin/python" $blocks --json "$OUT" $arguments || failed=1
    # shellcheck disable=SC2086
    "$venv/bin/python" $blocks --json "$OUT/decode.json" --m $decode $arguments || failed=1
    # Once more with a kernel of torch's between the calls, so that none starts while the one ahead of it ends.
    # shellcheck disable=SC2086
    "$venv/bin/python" $blocks --json "$OUT/decode_apart.json" --m $decode --apart $arguments || failed=1
    return $failed
}

for step in "${@:-setup build ctest pytest sanitize bench}"; do
    for name in $step; do
        call=$name
        case $name in ctest | pytest) call=${name}_ ;; esac
        start=$SECONDS
        echo "=== $name"
        if $call 2>&1 | tee "$OUT/$name.log"; then
            echo "=== $name: passed in $((SECONDS - start)) s"
        else
            echo "=== $name: FAILED after $((SECONDS - start)) s"
            status=1
            case $name in setup | build) exit 1 ;; esac
        fi
    done
done
exit $status
