"""What the tests of the Triton kernels share: where they run, and a table of tiles for each test.

With a GPU they are compiled for it, and a missing triton is a failure. Without one they run in
Triton's interpreter (tests/conftest.py asks for it), on the dtypes that it rounds.
"""

import pytest
import torch
from cases import DTYPES
from conftest import REQUIRE_GPU

if not (REQUIRE_GPU or torch.cuda.is_available()):
    pytest.importorskip("triton", reason="triton is not installed, and there is no GPU")

from postlude.triton import launch, table, tuning, unavailable

DEVICE = "cuda" if REQUIRE_GPU or torch.cuda.is_available() else "cpu"
KERNEL_DTYPES = DTYPES if DEVICE == "cuda" else (torch.float32, torch.float16)

assert unavailable() == ""


@pytest.fixture
def tuner(tmp_path, monkeypatch):
    """A tuner of the test's own in place of the process's, on a table in an empty directory."""
    own = tuning.Tuner(table.Table(tmp_path / "cache"))
    monkeypatch.setattr(launch, "default_tuner", lambda: own)
    return own
