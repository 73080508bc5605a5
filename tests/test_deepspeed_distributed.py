"""DeepSpeedMLP over 1, 2 and 4 ranks, in processes of their own, all-reducing through gloo."""

import os
import subprocess
import sys
import time
from pathlib import Path

WORKER = Path(__file__).with_name("deepspeed_worker.py")
WORLD = 4


def test_any_mp_size_equals_one(tmp_path, device):
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    logs = [tmp_path / f"{rank}.log" for rank in range(WORLD)]
    ranks = []
    for rank, log in enumerate(logs):
        command = [sys.executable, WORKER, str(rank), str(WORLD), tmp_path / "store", device]
        with log.open("w") as stream:
            ranks.append(subprocess.Popen(command, env=environment, stdout=stream, stderr=stream))
    try:
        codes = outcome(ranks)
    finally:
        for process in ranks:
            process.kill()
            process.wait()
    said = [log.read_text() for log in logs]
    assert codes == [0] * WORLD, "\n".join(said)
    # 4 dtypes, 3 kinds of norm in 3 forms, with and without biases, but for RMSNorm in the parallel
    # form.
    forms = 4 * (3 * 3 * 2 - 2)
    for rank, text in enumerate(said):
        sizes = sum(rank < p for p in (1, 2, 4))
        assert f"rank {rank}: {sizes * forms} forms" in text


def outcome(ranks):
    """Their exit codes once all have ended, or one has failed: the others would wait for it."""
    end = time.monotonic() + 300
    while None in (codes := [process.poll() for process in ranks]) and not any(codes):
        assert time.monotonic() < end, "the ranks did not end"
        time.sleep(0.05)
    return codes
