"""What a Context says of a GPU that is not there, or that its build has no code for; collected on
GPU machines only."""

import os
import re
import subprocess
import sys

import pytest
import torch

from postlude._interop import _C

HIDDEN = """
from postlude._interop import _C
for _ in range(2):
    try:
        print(_C.tune_header(0))
    except RuntimeError as error:
        print(error)
"""


@pytest.mark.parametrize("index", [-1, 99])
def test_an_index_past_the_gpus(index):
    last = torch.cuda.device_count() - 1
    said = f"[Context] device: expected cuda:0 to cuda:{last}, got cuda:{index}"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        _C.tune_header(index)
    assert _C.tune_header(last).startswith("postlude tune")


def test_no_gpu_at_all():
    run = subprocess.run(
        [sys.executable, "-c", HIDDEN],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    words = (
        "[Context] device: this machine has no GPU and driver that this build can use: "
        "no CUDA-capable device is detected"
    )
    assert run.stdout.splitlines() == [words, words]


def test_a_build_without_code_for_the_gpu():
    """The driver is told to take no machine code, and what is for sm_90a has nothing else."""
    (architectures,) = re.findall(r"architectures (.*), CUTLASS", _C.show_config())
    if torch.cuda.get_device_capability() != (9, 0) or "90a-real" not in architectures:
        pytest.skip("this GPU needs nothing of which this build has machine code alone")
    run = subprocess.run(
        [sys.executable, "-c", HIDDEN],
        env={**os.environ, "CUDA_FORCE_PTX_JIT": "1", "CUDA_CACHE_DISABLE": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    said = f"[Context] device: it is sm_90, and this build holds code for {architectures} only"
    assert run.stdout.splitlines() == [said, said]
