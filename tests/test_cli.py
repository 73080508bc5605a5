"""The ``postlude`` command: what it prints is what the library says, and errors are one line."""

import json
import re
import subprocess
import sys
from importlib import metadata

import pytest
import torch
from sources import environment_variables

import postlude
from postlude.cli import info, main

M, N, K = 7, 96, 64


def output_of(capsys, *arguments: str, status: int = 0) -> str:
    """What the command prints; on stderr where it fails."""
    assert main(list(arguments)) == status
    printed = capsys.readouterr()
    assert (printed.err == "") == (status == 0), printed
    return printed.out or printed.err


def test_info_is_what_the_library_says(capsys, monkeypatch):
    monkeypatch.setenv("POSTLUDE_PDL", "0")
    found = json.loads(output_of(capsys, "info", "--json"))
    assert found["version"] == postlude.__version__
    assert found["packages"]["torch"] == metadata.version("torch")
    assert found["environment"]["POSTLUDE_PDL"] == "0"
    text = output_of(capsys, "info")
    for line in postlude.show_config().strip().splitlines():
        assert line in text
    assert "POSTLUDE_PDL=0: " in text
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        assert [gpu["name"] for gpu in found["gpus"]] == names
        major, minor = torch.cuda.get_device_capability(0)
        assert found["gpus"][0]["capability"] == f"{major}.{minor}"
    else:
        assert isinstance(found["gpus"], str) or found["gpus"] == []


def test_info_says_what_the_driver_answers(monkeypatch):
    """Where it cannot start, as in a container without a GPU, and where there is none."""

    class Driver:
        cuInit = staticmethod(lambda flags: 999)

    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    for found, said in (
        (lambda name: Driver, "the CUDA driver answers with error 999"),
        (missing, "no CUDA driver"),
    ):
        monkeypatch.setattr(info.ctypes, "CDLL", found)
        assert info.gpus() == said


def test_info_knows_every_variable_that_the_sources_read():
    read = environment_variables("src", "python")
    assert read == set(info.ENVIRONMENT)


# A context of this process on GPU 0 would be active after it.
QUIET_INFO = """
import ctypes, sys
from postlude.cli import info, main
main(["info"])
assert "torch" not in sys.modules
if info.gpus() and not isinstance(info.gpus(), str):
    flags, active = ctypes.c_uint(), ctypes.c_int(-1)
    state = ctypes.CDLL("libcuda.so.1").cuDevicePrimaryCtxGetState
    assert state(0, ctypes.byref(flags), ctypes.byref(active)) == 0
    assert active.value == 0
"""


def test_info_makes_no_cuda_context_and_imports_no_torch():
    run = subprocess.run([sys.executable, "-c", QUIET_INFO], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def tensors(device, *shapes):
    return [torch.zeros(shape, dtype=torch.bfloat16, device=device) for shape in shapes]


def test_explain_is_the_plan_of_real_tensors(capsys, device):
    common = ["--dtype", "bf16", "--device", device, "--m", str(M)]
    sizes = [*common, "--n", str(N), "--k", str(K)]
    x, weight, bias, gated = tensors(device, (M, K), (N, K), (N,), (2 * N, K))
    norm = postlude.RMSNorm(tensors(device, (K,))[0], 1e-5)
    (down,) = tensors(device, (K, N))
    width = [*common, "--hidden", str(K)]
    cases = [
        (["linear", *sizes], postlude.explain("linear", x, weight)),
        (
            ["linear", *sizes, "--gated", "--activation", "silu"],
            postlude.explain("linear", x, gated, gated=True, activation="silu"),
        ),
        (
            ["linear", *sizes, "--bias", "--batch-invariant"],
            postlude.explain("linear", x, weight, bias, batch_invariant=True),
        ),
        (
            ["qkv", *sizes, "--bias", "--norm", "rms", "--allow-tf32"],
            postlude.explain("qkv", x, weight, bias, norm=norm, allow_tf32=True),
        ),
        (
            ["mlp", *width, "--intermediate", str(N), "--norm", "rms", "--activation", "relu"],
            postlude.explain("mlp", x, weight, down, activation="relu", norm=norm),
        ),
        (["norm", *width, "--norm", "rms"], postlude.explain("norm", x, norm)),
        (
            ["residual_add", *width, "--form", "post_ln"],
            postlude.explain("residual_add", x, x.clone(), form="post_ln"),
        ),
    ]
    for arguments, expected in cases:
        assert output_of(capsys, "explain", *arguments).strip() == expected.strip()


@pytest.mark.parametrize("weight", ["packed", "int8"])
def test_explain_prepares_weights_on_the_cpu(capsys, weight):
    sizes = ["--m", "1", "--hidden", "64", "--intermediate", "96"]
    text = output_of(capsys, "explain", "mlp", *sizes, "--gated", "--weight", weight)
    assert len(re.findall("weight=(bfloat16 packed|int8)", text)) == 2


def test_explain_takes_any_size_of_rows(capsys):
    many = ["--m", str(1 << 33), "--n", "64", "--k", "32"]  # 2^38 elements that nobody touches
    assert f"m={1 << 33}" in output_of(capsys, "explain", "linear", *many)
    none = output_of(capsys, "explain", "norm", "--m", "0", "--hidden", "5")
    assert none == "norm on cpu\n  workspace 0 bytes\n"


def test_errors_are_one_line(capsys):
    sizes = ["--m", "1", "--n", "5", "--k", "4"]
    tpu = output_of(capsys, "explain", "linear", *sizes, "--device", "tpu", status=1)
    assert tpu == "[explain] device: expected cpu, cuda or cuda:N, got 'tpu'\n"
    negative = ["--m", "1", "--n", "-5", "--k", "4"]
    text = output_of(capsys, "explain", "linear", *negative, status=1)
    assert text.startswith("[explain] sizes: expected 0 to 2^60") and text.count("\n") == 1
    if not torch.cuda.is_available():
        text = output_of(capsys, "explain", "linear", *sizes, "--device", "cuda", status=1)
        assert "cuda:0" in text and text.count("\n") == 1
    packed = [*sizes, "--device", "cuda", "--weight", "packed"]
    assert "[explain] weight: expected plain" in output_of(
        capsys, "explain", "linear", *packed, status=1
    )


def test_without_a_command_it_helps(capsys):
    assert "explain" in output_of(capsys, status=2)
    with pytest.raises(SystemExit):
        main(["explain"])
    assert "expected an op" in capsys.readouterr().err


def test_a_checkout_has_no_cmake_package(capsys):
    text = output_of(capsys, "--cmake-dir", status=1)
    assert text.startswith("[postlude] --cmake-dir: expected an installed wheel, got ")
