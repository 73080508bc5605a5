"""DeepSpeedMLP over 1, 2 and 4 ranks, in processes of their own, all-reducing through gloo."""

import os
import subprocess
import sys
from pathlib import Path

WORKER = Path(__file__).with_name("deepspeed_worker.py")
WORLD = 4


def test_any_mp_size_equals_one(tmp_path, device):
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    ranks = []
    for rank in range(WORLD):
        command = [sys.executable, WORKER, str(rank), str(WORLD), tmp_path / "store", device]
        ranks.append(
            subprocess.Popen(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    try:
        said = [process.communicate(timeout=300)[0] for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert [process.returncode for process in ranks] == [0] * WORLD, "\n".join(said)
    # 3 kinds of norm in 3 forms, with and without biases, but for RMSNorm in the parallel form.
    forms = 2 * (3 * 3 * 2 - 2)
    for rank, text in enumerate(said):
        sizes = sum(rank < p for p in (1, 2, 4))
        assert f"rank {rank}: {sizes * forms} forms" in text
