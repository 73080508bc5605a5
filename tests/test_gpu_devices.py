"""What a Context says of a GPU that is not there; collected on GPU machines only."""

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
