"""The benchmarks' own logic: what contenders compute, who wins a cell, and what is written down."""

import argparse
import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import contenders
import gpu_blocks
import gpu_gemm
import gpu_norms
import gpu_tiles
import graphs
import report
from shapes import Shape

SHAPES = {
    "llama": Shape(64, 96, 4, 2, "silu", True, False, "rms", 1e-5),
    "gpt2": Shape(64, 128, 4, 4, "gelu_tanh", False, True, "layer", 1e-5),
    "bert": Shape(64, 128, 4, 4, "gelu_erf", False, True, "layer", 1e-12),
}
UNCOMPILED = [
    name for name in contenders.EVERY if name not in contenders.COMPILED and name != "triton"
]


def record(us, **fields):
    """A judged record."""
    result = {"model": "gpt2-xl", "block": "mlp", "dtype": "bf16", "m": 128, "us": us}
    empty = {"wrong": [], "skipped": {}, "failed": {}, "compile_s": {}, "error": {}}
    result.update(empty, floor_us=5.0, **fields)
    report.judge(result)
    return result


@pytest.fixture
def without_gpu(monkeypatch):
    """Graphs that run at once and take the time that their place says."""
    times = iter(range(1, 10**6))

    def capture(calls, *, apart=False):
        first, *_ = [call() for call in calls]
        return graphs.Captured(next(times), len(calls), first)

    monkeypatch.setattr(graphs, "DEVICE", "cpu")
    monkeypatch.setattr(graphs, "ROTATED_BYTES", 1)
    monkeypatch.setattr(graphs, "capture", capture)
    monkeypatch.setattr(graphs, "replays", lambda graph, times: graph * times)


@pytest.mark.parametrize("name", UNCOMPILED)
@pytest.mark.parametrize("kind", contenders.KINDS)
@pytest.mark.parametrize("model", SHAPES)
def test_contenders_compute_the_block(model, kind, name):
    shape = SHAPES[model]
    if name not in contenders.available(kind, shape):
        assert name == "merged"
        return
    copies = [contenders.new_copy(kind, shape, dtype=torch.float32, device="cpu") for _ in range(2)]
    x = torch.randn(5, shape.hidden)
    # torch's _addmm_activation is the GELU with erf on the CPU, and the one with tanh on CUDA.
    limit = 1e-3 if (model, kind, name) == ("gpt2", "mlp", "cublaslt") else 1e-6
    with torch.inference_mode(), contenders.library(name):
        for copy, call in zip(copies, contenders.calls(name, kind, shape, copies), strict=True):
            expected = contenders.exact(kind, shape, copy.weights, x)
            y = call(x)
            assert y.shape == (5, contenders.out_features(kind, shape))
            assert (y.double() - expected).norm() <= limit * expected.norm()


def test_weight_count_is_that_of_the_matrices():
    for shape in SHAPES.values():
        for kind in contenders.KINDS:
            w = contenders.new_copy(kind, shape, dtype=torch.float32, device="cpu").weights
            matrices = [m for m in (w.weight_in, w.weight_out) if m is not None]
            assert contenders.weight_count(kind, shape) == sum(m.numel() for m in matrices)


def test_a_cell_is_won_in_both_repeats_or_lost():
    peers = {"eager": [12.0, 12.0], "autotune": [10.0, 10.2]}
    judged = record({**peers, "plain": [10.1, 10.3], "bound": [10.1, 10.4]})
    assert judged["best"] == "autotune"
    assert judged["won"] == {"plain": True, "bound": False}
    assert judged["ratio"]["plain"] == pytest.approx(10.1 / 10.2)
    assert report.verdict(judged, "plain") == "0.99"
    assert report.verdict(judged, "bound") == "0.99<"


def test_what_failed_of_ours_is_a_lost_cell():
    judged = record({"eager": [12.0, 12.0], "plain": [6.0, 6.0]}, failed={"bound": "no kernel"})
    assert judged["won"] == {"plain": True, "bound": False}
    assert report.broken(judged)
    assert report.verdict(judged, "bound") == "-!"


def test_summary_and_table_name_lost_cells_and_missing_contenders():
    us = {"eager": [12.0, 12.0], "plain": [6.0, 6.0], "bound": [15.0, 15.0]}
    records = [
        record(us),
        record(us, m=1024, skipped={"autotune": "the budget of 9 s was spent"}),
    ]
    text = report.summary(records)
    assert "gpt2-xl mlp bf16  128: 2.00/0.80<  1024: 2.00/0.80<" in text
    assert "geometric mean, M >= 1024: plain 2.000, bound 0.800" in text
    assert "cells lost by plain: 0 of 2" in text
    assert "cells lost by bound: 2 of 2" in text
    assert "skipped: autotune in 1 of 2 cells" in text
    row = report.markdown(records).splitlines()[2]
    assert row == "| gpt2-xl mlp | bf16 | 128 | 5.0 | 12.0 | 6.0 | 15.0 | 2.00 | **0.80<** |"


def test_a_cell_measured_again_takes_the_place_of_the_old_one():
    us = {"eager": [12.0, 12.0], "plain": [6.0, 6.0]}
    records = [record(us, m=1024)]
    gpu_blocks.put(records, record(us, m=128))
    gpu_blocks.put(records, record({**us, "plain": [3.0, 3.0]}, m=1024))
    assert [(r["m"], r["us"]["plain"][0]) for r in records] == [(128, 6.0), (1024, 3.0)]


def options(*arguments):
    return gpu_blocks.parse(["--rounds", "1", "--models", "gpt2-xl", "--m", "5", *arguments])


def test_gpu_blocks_writes_every_cell(without_gpu, monkeypatch, tmp_path):
    monkeypatch.setitem(gpu_blocks.MODELS, "gpt2-xl", SHAPES["gpt2"])
    rates = {"read_bytes_per_s": 1e12, "bf16_per_s": 1e15}
    monkeypatch.setattr(gpu_blocks, "measured_ceilings", lambda dtypes: rates)
    results, path = {"runs": [], "records": []}, tmp_path / "blocks.json"
    with torch.inference_mode():
        done = gpu_blocks.run(options("--dtypes", "bf16", "--budget", "0"), results, path)
    saved = json.loads(path.read_text())
    assert saved["records"] == done == results["records"]
    assert [r["block"] for r in done] == ["mlp", "qkv"]
    for cell in done:
        assert list(cell["skipped"]) == ["compile", "autotune"]
        assert list(cell["us"]) == ["eager", "cublaslt", "plain", "bound"]
        assert not cell["failed"]
        assert not cell["wrong"]
        assert max(cell["error"].values()) < 4e-3
    moved = 2 * (2 * 64 * 128 + 5 * 128)
    assert done[0]["floor_us"] == pytest.approx(moved / 1e6)


def test_wrong_results_are_named():
    captured = dict.fromkeys(("eager", "autotune", "plain", "bound"))
    cell = {"dtype": "bf16", "failed": {}}
    found = {"eager": 3e-3, "autotune": 0.1, "plain": 3.9e-3, "bound": 4.1e-3}
    gpu_blocks.judge_errors(cell, found, captured)
    assert cell["wrong"] == ["bound"]
    assert list(cell["failed"]) == ["autotune"]
    assert list(captured) == ["eager", "plain", "bound"]


def test_command_line():
    quick = gpu_blocks.parse(["--quick", "--dtypes", "fp16"])
    assert (quick.m, quick.dtypes) == (gpu_blocks.QUICK["m"], ["fp16"])
    full = gpu_blocks.parse([])
    assert (full.m, full.contenders) == (gpu_blocks.M, None)
    cell = gpu_blocks.Cell("llama-3-8b", "mlp", "fp32", [])
    assert gpu_blocks.wanted(cell, None) == ["eager", "merged", "plain", "bound"]
    assert gpu_blocks.wanted(cell, ["compile"]) == ["compile"]


def test_copies_are_beyond_the_cache():
    for size in (1, 6_291_456, 352_321_536):
        copies = graphs.copies_beyond_cache(size)
        assert copies >= 2
        assert copies * size >= graphs.ROTATED_BYTES


@pytest.mark.parametrize("epilogue", gpu_gemm.EPILOGUES)
def test_gemm_problems(without_gpu, epilogue):
    problem = gpu_gemm.Problem(5, 64, 32, epilogue)
    for bound in (False, True):
        arguments = argparse.Namespace(dtype="fp32", bound=bound, rounds=1, turn_ms=1.0)
        with torch.inference_mode():
            measured = gpu_gemm.measure(problem, arguments)
        assert measured["error"] < 1e-6
        assert len(gpu_gemm.row(measured)) == 8


def test_norm_kinds(without_gpu):
    arguments = argparse.Namespace(
        dtype="bf16",
        megabytes=[0.01],
        hidden=[1000],
        kinds=list(gpu_norms.KINDS),
        rounds=1,
        turn_ms=1.0,
    )
    with torch.inference_mode():
        records = list(gpu_norms.measure(arguments))
    assert [r["kind"] for r in records] == list(gpu_norms.KINDS)
    assert all(r["error"] < gpu_norms.TOLERANCE["bf16"] for r in records)
    assert "5 x 1000" in gpu_norms.cells(records, 1e12, "bf16")


def test_plot_writes_an_svg(monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    import plot

    us = {"eager": [12.0, 12.0], "plain": [6.0, 6.0], "bound": [7.0, 7.0]}
    path = tmp_path / "blocks.json"
    path.write_text(json.dumps({"records": [record(us), record(us, m=1024)]}))
    monkeypatch.setattr(sys, "argv", ["plot.py", str(path)])
    plot.main()
    text = (tmp_path / "blocks-bf16.svg").read_text()
    assert "gpt2-xl MLP" in text
    assert "Postlude, bound" in text
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_the_products_of_a_block_in_order():
    keys = {
        kind: [
            one.key.partition(" m=16 ")[2]
            for one in gpu_tiles.products(kind, SHAPES["llama"], 16, "fp16")
        ]
        for kind in contenders.KINDS
    }
    assert keys == {
        "mlp": ["n=96 k=64 epilogue=gated", "n=64 k=96 epilogue=residual"],
        "qkv": ["n=128 k=64 epilogue=scaled"],
    }
