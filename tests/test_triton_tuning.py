"""Tuning of the Triton kernels: each product is timed once, by one process for all others."""

import json
import os
import subprocess
import sys
import threading

import pytest
import torch
from cases import same_bits, tensor, weight
from triton_cases import DEVICE, tuner  # noqa: F401, a fixture

from postlude import triton as kernels
from postlude.triton import tiles, tuning
from postlude.triton.table import Table

pytestmark = pytest.mark.filterwarnings("error:postlude.triton:RuntimeWarning")


@pytest.fixture
def timed(monkeypatch):
    """How often something was timed; the second tile is always the fastest."""
    calls = []

    def measure(run, device):
        run()
        calls.append(run.args[0])
        return 1.0 if len(calls) % 2 == 0 else 2.0 + len(calls)

    monkeypatch.setattr(tuning, "measure", measure)
    return calls


def product(rows=3, n=40, dtype=torch.float16, **options):
    """A product's arguments and its result."""
    x, w = (value.to(DEVICE, dtype) for value in (torch.ones(rows, 32), torch.ones(n, 32)))
    return kernels.linear(x, w, **options)


def test_each_product_is_timed_once(tuner, timed):  # noqa: F811
    candidates = tiles.tiles(torch.float16, 3, False)
    product()
    assert timed == list(candidates)
    product()
    product(rows=16)  # of the same class
    assert len(timed) == len(candidates)
    content = json.loads(tuner.table.path.read_text())
    (key, entry), *others = content["entries"].items()
    assert not others
    assert entry["choice"] == list(candidates[1])
    for part in ("triton ", "float16", "n 40", "k 32", "m 16", "nk"):
        assert part in key


def test_what_makes_another_product(tuner, timed):  # noqa: F811
    def keys():
        return len(json.loads(tuner.table.path.read_text())["entries"])

    x, w = tensor(3, 32, device=DEVICE), weight(40, 32, torch.float32, DEVICE)
    others = [
        lambda: kernels.linear(x, w),
        lambda: kernels.linear(x.half(), w.half()),
        lambda: kernels.linear(x, w[:39]),
        lambda: kernels.linear(x[:, :31], w[:, :31].contiguous()),
        lambda: kernels.linear(x, w.t().contiguous().t()),
        lambda: kernels.linear(x, w, gated=True),
        lambda: kernels.linear(x.repeat(6, 1), w),
    ]
    for count, call in enumerate(others, 1):
        call()
        assert keys() == count
    kernels.linear(x, w, w[:, 0].contiguous(), activation="silu")  # not by the epilogue
    assert keys() == len(others)


def test_without_autotune_nothing_is_timed(tuner, timed):  # noqa: F811
    expected = product(autotune=True)
    count = len(timed)
    assert same_bits(product(autotune=False), expected)
    product(n=41, autotune=False)
    assert len(timed) == count


def test_a_tile_that_the_device_has_no_room_for(tuner, monkeypatch):  # noqa: F811
    import triton

    candidates = tiles.tiles(torch.float16, 3, False)

    def measure(run, device):
        if run.args[0] != candidates[2]:
            raise triton.OutOfResources(2**20, 2**16, "shared memory")
        return 1.0

    monkeypatch.setattr(tuning, "measure", measure)
    product()
    (entry,) = json.loads(tuner.table.path.read_text())["entries"].values()
    assert entry["choice"] == list(candidates[2])
    monkeypatch.setattr(tiles, "_HALF_FEW", candidates[:2])
    with pytest.raises(triton.OutOfResources, match="shared memory"):
        product(n=41)


def test_a_choice_that_is_no_tile_any_more_is_timed_again(tuner, timed):  # noqa: F811
    product()
    content = json.loads(tuner.table.path.read_text())
    (entry,) = content["entries"].values()
    entry["choice"] = [1024, 1024, 1024, 4, 4]
    tuner.table.path.write_text(json.dumps(content))
    count = len(timed)
    fresh = tuning.Tuner(Table(tuner.table.path.parent))
    x, w = (torch.ones(size, 32, device=DEVICE).half() for size in (3, 40))
    fresh.choose(tuning.Product(x, w, 3, False), lambda tile: None)
    assert len(timed) == 2 * count


def test_threads_tune_a_product_once(tuner, timed):  # noqa: F811
    x, w = (torch.ones(size, 32, device=DEVICE).half() for size in (3, 40))
    found = []

    def choose():
        found.append(tuner.choose(tuning.Product(x, w, 3, False), lambda tile: None))

    threads = [threading.Thread(target=choose) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(timed) == len(tiles.tiles(torch.float16, 3, False))
    assert len(set(found)) == 1 and len(found) == 8


USER = """
import sys, torch
from postlude import triton
from postlude.triton import tuning
measure, count = tuning.measure, []
tuning.measure = lambda *args: count.append(args) or measure(*args)
x, w = (torch.ones(size, 32, device=sys.argv[1]).half() for size in (3, 40))
y = triton.linear(x, w)
print(len(count), y.sum().item())
"""


def test_a_second_process_reads_and_does_not_tune(tmp_path):
    environment = {**os.environ, "POSTLUDE_CACHE_DIR": str(tmp_path)}
    said = []
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "-c", USER, DEVICE], capture_output=True, text=True, env=environment
        )
        assert run.returncode == 0, run.stderr
        assert not run.stderr
        said.append(run.stdout.split())
    count = len(tiles.tiles(torch.float16, 3, False))
    assert said == [[str(count), "3840.0"], ["0", "3840.0"]]


def test_measure_counts_microseconds():
    x = torch.ones(2**20, device=DEVICE)
    runs = []

    def run():
        runs.append(x.add_(1))

    assert 0.1 < tuning.measure(run, x.device) < 1e6
    assert len(runs) > 1
