"""Short runs of the programs in fuzz/: hostile arguments break no rule, and memory stays flat."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "fuzz"))

import hostile
import soak

FUZZ = Path(hostile.__file__).parent


def output_of(program: str, *arguments: str) -> str:
    """What a program prints in a process of its own, which a crash would end."""
    command = [sys.executable, FUZZ / program, *arguments]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, f"{run.returncode}: {run.stdout}{run.stderr}"
    return run.stdout


def test_hostile_calls_break_no_rule(device):
    said = output_of("fuzz_ops.py", "--seconds", "3", "--device", device, "--seed", "1")
    counts = dict(re.findall(r"(\w+) (\d+)", said.partition(": ")[2]))
    assert int(counts["done"]) > 100 and int(counts["ValueError"]) > 20, said
    assert int(counts["TypeError"]) > 10, said


def test_memory_stays_flat(device):
    # Other processes may take memory of the same GPU meanwhile; what calls lose shows every time.
    attempts = 1 if device == "cpu" else 3
    for left in reversed(range(attempts)):
        try:
            said = output_of("soak.py", "--calls", "10000", "--pool", "400", "--device", device)
            break
        except AssertionError as error:
            if left == 0 or "used on the GPU: grew" not in str(error):
                raise
    assert said.startswith(f"10000 calls on {device}"), said


def test_the_soak_sees_what_grows():
    soak.refuse_growth({"blocks": 3, "bytes": 1000, "allocated on the GPU": 0}, 10_000)
    for leak in ({"blocks": 700}, {"bytes": 5 << 20}, {"allocated on the GPU": 1}):
        with pytest.raises(AssertionError, match="grew by"):
            soak.refuse_growth(leak, 10_000)


@pytest.mark.parametrize(
    ("right", "error", "broken"),
    [
        (True, ValueError("[linear] x: expected a tensor, got none"), "a right call"),
        (False, ValueError("bad tensor"), "does not say where"),
        (False, ValueError("[linear] x: bad tensor"), "bad tensor"),
        (False, KeyError("x"), None),
    ],
)
def test_the_fuzzer_sees_what_breaks_a_rule(right, error, broken):
    def function():
        raise error

    call = hostile.Call("linear", function, (), {}, right)
    with pytest.raises(AssertionError if broken else type(error), match=broken):
        hostile.outcome(call)
