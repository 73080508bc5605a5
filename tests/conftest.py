"""Fixtures of all tests: the devices to run on, and a fixed seed."""

import os

# Before OpenMP is loaded: threads that spin while they wait take the cores from those that work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import torch

import postlude

# On a GPU machine: a GPU test that does not run is a failure.
REQUIRE_GPU = os.environ.get("POSTLUDE_REQUIRE_GPU", "") not in ("", "0")


# JAX would take most of the GPU's memory at its first call, and torch's tests need it.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

# Without a GPU Triton's kernels run in its interpreter, which must be asked for before its import.
if not (REQUIRE_GPU or torch.cuda.is_available()):
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Without a GPU there is nothing in them to run.
collect_ignore_glob = [] if REQUIRE_GPU or torch.cuda.is_available() else ["test_gpu_*.py"]


def missing_gpu() -> str:
    """Why GPU tests cannot run here, or an empty string."""
    if not torch.cuda.is_available():
        return "torch finds no GPU"
    if "cuda: not built" in postlude.show_config():
        return "postlude was built without CUDA"
    return ""


@pytest.fixture(params=["cpu", "cuda"] if REQUIRE_GPU or torch.cuda.is_available() else ["cpu"])
def device(request):
    """The device that a test's tensors live on; the test runs once for each."""
    if request.param == "cuda" and (reason := missing_gpu()):
        pytest.skip(reason)
    return request.param


@pytest.fixture(autouse=True)
def seed():
    """Each test draws the same numbers whichever tests ran before it."""
    torch.manual_seed(0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """With POSTLUDE_REQUIRE_GPU=1 a test of the GPU, by its device or file, fails if skipped."""
    report = yield
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    on_gpu = parameters.get("device") == "cuda" or item.path.name.startswith("test_gpu_")
    if REQUIRE_GPU and report.skipped and on_gpu:
        report.outcome = "failed"
        report.longrepr = f"POSTLUDE_REQUIRE_GPU is set, and this was skipped: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """The same for a whole file that asks to be skipped."""
    report = yield
    if REQUIRE_GPU and report.skipped and collector.path.name.startswith("test_gpu_"):
        report.outcome = "failed"
        report.longrepr = f"POSTLUDE_REQUIRE_GPU is set, and this was skipped: {report.longrepr}"
    return report
