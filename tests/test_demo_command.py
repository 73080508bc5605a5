"""``postlude demo``: all compute the same layer, a wrong result is an error, torch is optional."""

import re
import subprocess
import sys

import pytest

from postlude.cli import demo, main


@pytest.fixture(autouse=True)
def few_rows(monkeypatch):
    monkeypatch.setattr(demo, "ROWS", (1, 7))


def run(capsys, *arguments, status=0):
    assert main(["demo", "--rounds", "1", *arguments]) == status
    printed = capsys.readouterr()
    assert (printed.err == "") == (status == 0), printed
    return printed.out + printed.err


def test_it_checks_and_times_a_layer(capsys, device):
    text = run(capsys, "--device", device)
    names = ["torch", "postlude"] if device == "cuda" else ["numpy", "torch", "postlude"]
    assert re.search(rf"^ +rows +{' +'.join(names)} ", text, re.MULTILINE), text
    rows = re.findall(r"^ +(\d+) +((?:[\d.]+ ms +)+)([\d.e-]+)$", text, re.MULTILINE)
    assert [int(m) for m, *_ in rows] == [1, 7], text
    for _, times, error in rows:
        assert len(times.split("ms")) == len(names) + 1
        assert 0 < float(error) < (2e-2 if device == "cuda" else 1e-5)
    assert "Against float64: relative error" in text


def test_a_wrong_result_is_an_error(capsys, monkeypatch):
    right = demo.postlude_layer

    def wrong(weights, attention):
        layer = right(weights, attention)
        return lambda x: layer(x) * 1.001

    monkeypatch.setattr(demo, "postlude_layer", wrong)
    assert "[demo] a result is wrong" in run(capsys, "--device", "cpu", status=1)


def test_errors_are_one_line(capsys):
    for arguments, said in {
        ("--device", "tpu"): "[demo] device: expected cpu, cuda or cuda:N, got 'tpu'",
        ("--rounds", "0"): "[demo] rounds: expected a number from 1 up, got 0",
    }.items():
        text = run(capsys, *arguments, status=1)
        assert text.startswith(said) and text.count("\n") == 1, text


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # its import fails
from postlude.cli import demo, main
demo.ROWS = (1,)
sys.exit(main(["demo", "--rounds", "1", *sys.argv[1:]]))
"""


def test_it_needs_no_torch():
    command = [sys.executable, "-c", WITHOUT_TORCH]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^ +rows +numpy +postlude ", done.stdout, re.MULTILINE), done.stdout
    refused = subprocess.run([*command, "--device", "cuda"], capture_output=True, text=True)
    assert refused.returncode == 1
    assert refused.stderr.startswith("[demo] device: expected cpu, as there is no torch, got cuda")
