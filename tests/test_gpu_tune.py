"""Tune files on a GPU: every tile that a file may name computes the product, explain names the
entry, and ``postlude tune`` writes what it measured."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cases
import pytest
import torch

import postlude
from postlude import RMSNorm, ops, reference
from postlude._interop import _C
from postlude.cli import main, tune
from postlude.cli.tune_file import TuneFile

DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16}
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def hopper():
    if torch.cuda.get_device_capability() != (9, 0):
        assert _C.tune_tiles("dtype=bf16 m=16 n=512 k=512 epilogue=plain", 0) == []
        pytest.skip("a GPU without tiles to choose from")


def write(path, lines):
    entries = "".join(f"{line} us=1.5 shipped_us=2.5\n" for line in lines)
    path.write_text(_C.tune_header(0) + entries)
    return path


class Case:
    """A product of one kind: its call, and what it should give."""

    def __init__(self, epilogue: str, m: int, dtype: str) -> None:
        n, k = 256, 512
        torch.manual_seed(m)
        self.dtype, self.epilogue = DTYPES[dtype], epilogue
        self.key = f"dtype={dtype} m={m} n={n} k={k} epilogue={epilogue}"
        self.x = self.random(m, k)
        self.weight = self.random(2 * n if epilogue == "gated" else n, k) / k**0.5
        self.options = {
            "plain": {},
            "activation": {"activation": "gelu_tanh"},
            "gated": {"activation": "silu", "gated": True},
            "residual": {"residual": self.random(m, n)},
            "scaled": {},
        }[epilogue]
        if epilogue == "scaled":
            self.norm = RMSNorm(self.random(k) / 10 + 1, 1e-5)
            self.packed = ops.pack_weight(self.weight, norm=self.norm)

    def random(self, *shape):
        return torch.randn(*shape, device="cuda").to(self.dtype)

    def call(self, function=None):
        """The product, or what ``explain`` says of it."""
        if self.epilogue == "scaled":
            args, kwargs, op = (self.x, self.packed), {"norm": self.norm}, "qkv"
        else:
            args, kwargs, op = (self.x, self.weight), self.options, "linear"
        return (function or getattr(ops, op))(*([op] if function else []), *args, **kwargs)

    def check(self, y):
        args = (self.x, self.weight)
        if self.epilogue == "scaled":
            cases.assert_as_reference(y, reference.qkv, *args, norm=self.norm)
        else:
            cases.assert_as_reference(y, reference.linear, *args, **self.options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("epilogue", ["plain", "activation", "gated", "residual", "scaled"])
def test_every_tile_computes_the_product(tmp_path, epilogue, dtype):
    seen = 0
    for m in (1, 33, 200):
        case = Case(epilogue, m, dtype)
        tiles = _C.tune_tiles(case.key, 0)
        assert len(tiles) > 3
        for tile in tiles:
            path = write(tmp_path / "a.tune", [f"{case.key} {tile}"])
            with postlude.tuned(path):
                y, text = case.call(), case.call(postlude.explain)
            assert f"tuned by {path}, line 6: 1.5 us instead of 2.5" in text, text
            case.check(y)
            name = re.search(r"tile=([a-z_]+)_(\d+)x(\d+)_c(\d+)_s(\d+)", tile)
            kernel = {"swap": "swap-AB", "ping_pong": "ping-pong", "block": "block"}[name[1]]
            assert f"{kernel} {name[2]}x{name[3]}x64" in text
            assert int(name[5]) == 1 or f"k in {name[5]} parts" in text
            seen += 1
        assert "tune" not in case.call(postlude.explain)
    assert seen > 20


def test_other_calls_keep_the_shipped_choice(tmp_path):
    case, other = Case("plain", 33, "bf16"), Case("plain", 34, "bf16")
    shipped = postlude.explain("linear", other.x, case.weight)
    invariant = postlude.explain("linear", case.x, case.weight, batch_invariant=True)
    path = write(tmp_path / "a.tune", [f"{case.key} {_C.tune_tiles(case.key, 0)[-1]}"])
    with postlude.tuned(path):
        end = f"  tune file {path}, 1 entries\n"
        assert postlude.explain("linear", other.x, case.weight) == shipped + end
        text = postlude.explain("linear", case.x, case.weight, batch_invariant=True)
        assert text == invariant + end
        # Rows that TMA cannot read: the entry is named, with the reason why it does not hold.
        odd = torch.randn(33, 513, device="cuda").bfloat16()[:, :512]
        text = postlude.explain("linear", odd, case.weight)
        assert f"not tuned, though {path}, line 6 has it: TMA needs rows of x" in text
        y = ops.linear(odd, case.weight)
        cases.assert_as_reference(y, reference.linear, odd, case.weight)


def test_files_for_others_are_refused_at_the_first_call(tmp_path):
    case, path = Case("plain", 33, "bf16"), tmp_path / "a.tune"
    header = _C.tune_header(0)
    tile = _C.tune_tiles(case.key, 0)[0]
    name = torch.cuda.get_device_name(0)
    lines = {
        header.replace(name, "Another GPU"): f"expected a file of this GPU, {name}",
        header.replace("arch sm_90", "arch sm_80"): "expected a file of this GPU",
        header.replace(postlude.__version__, "0.0.9"): "line 2: expected a file of this version",
        f"{header}{case.key} kernel=cuda.none tile=a us=1 shipped_us=2\n": "line 6: expected a ker",
        f"{header}{case.key} kernel=cuda.gemv tile=a us=1 shipped_us=2\n": "line 6: expected a til",
        f"{header}{case.key} kernel=cuda.sm90 tile=swap_7x64_c1_s1 us=1 shipped_us=2\n": "a tile",
        f"{header}{case.key} kernel=cuda.sm90 tile=swap_8x64_c1_s1 us=1 shipped_us=2\n": (
            "line 6: expected a tile that runs its problem, got 'swap_8x64_c1_s1' of cuda.sm90"
        ),
        f"{header}{case.key.replace('k=512', 'k=511')} {tile} us=1 shipped_us=2\n": "TMA needs",
    }
    for text, said in lines.items():
        path.write_text(text)
        with postlude.tuned(path), pytest.raises(ValueError, match=r"^\[tune_file\] ") as error:
            case.call()
        assert said in str(error.value), error.value
    case.check(case.call())  # and afterwards all is well


SAYS = """
import torch, postlude
x, w = (torch.ones(rows, 512, device="cuda").bfloat16() for rows in (33, 256))
print(postlude.explain("linear", x, w))
with postlude.tuned(None):
    assert "tune" not in postlude.explain("linear", x, w)
"""


def test_the_environment_names_a_file(tmp_path):
    case = Case("plain", 33, "bf16")
    path = write(tmp_path / "a.tune", [f"{case.key} {_C.tune_tiles(case.key, 0)[-1]}"])

    def run():
        env = {**os.environ, "POSTLUDE_TUNE_FILE": str(path)}
        return subprocess.run([sys.executable, "-c", SAYS], env=env, capture_output=True, text=True)

    done = run()
    assert done.returncode == 0, done.stderr
    assert f"tuned by {path}, line 6" in done.stdout
    path.write_text(path.read_text()[:-1])
    done = run()
    assert done.returncode != 0
    assert f"[tune_file] {path}, line 6: expected a newline at the end" in done.stderr


def test_cuda_graphs_keep_their_tile(tmp_path):
    case = Case("residual", 33, "bf16")
    tile = next(tile for tile in _C.tune_tiles(case.key, 0) if not tile.endswith("_s1"))
    with postlude.tuned(write(tmp_path / "a.tune", [f"{case.key} {tile}"])):
        expected = case.call()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = case.call()
    y.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(y, expected)


SIZES = ["--hidden", "512", "--intermediate", "1024", "--heads", "8", "--gated"]
SIZES += ["--activation", "silu", "--norm", "rms"]


def test_the_command_writes_what_it_measured(capsys, tmp_path, monkeypatch):
    path = tmp_path / "a.tune"
    monkeypatch.setenv("POSTLUDE_TUNE_FILE", str(path))  # not there yet
    arguments = ["tune", *SIZES, "--m", "5,160", "--rounds", "3", "--out", str(path)]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    rows = re.findall(r"^(dtype=\S+ m=.*?epilogue=\w+) +([\d.]+) +([\d.]+)  (.*)$", text, re.M)
    assert len(rows) == 8, text
    entries = dict(_C.TuneTable.read(str(path)).entries) if path.exists() else {}
    for key, chosen, best, tile in rows:
        assert float(chosen) > 0 and tile in ("as chosen", *_C.tune_tiles(key, 0))
        if tile == "as chosen":
            assert key not in entries and chosen == best
        else:
            assert float(chosen) > float(best) * (1 + tune.MARGIN) * 0.99  # as rounded
            assert entries[key] == f"{key} {tile} us={best} shipped_us={chosen}"
    assert len(entries) == sum(tile != "as chosen" for *_, tile in rows)
    assert f"{len(entries)} of 8 go into {path}, which had 0 entries" in text
    nowhere = tmp_path / "none" / "a.tune"
    assert main([*arguments[:-1], str(nowhere)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("[tune] out: expected a file that can be written, got [Errno 2]")


def test_a_run_that_is_killed_leaves_a_whole_file(tmp_path):
    path = tmp_path / "a.tune"
    file = TuneFile(path, _C.tune_header(0))
    case = Case("plain", 33, "bf16")
    line = f"{case.key} {_C.tune_tiles(case.key, 0)[0]} us=1.5 shipped_us=2.5"
    file.update({case.key: line})
    package = Path(postlude.__file__).parent.parent
    command = [sys.executable, "-m", "postlude", "tune", "bert-base", "--out", str(path)]
    run = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(package)}, stderr=subprocess.PIPE, text=True
    )
    before = path.stat().st_mtime_ns
    deadline = time.monotonic() + 120
    while path.stat().st_mtime_ns == before and time.monotonic() < deadline:
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert path.stat().st_mtime_ns != before, "it wrote nothing"
    assert dict(_C.TuneTable.read(str(path)).entries)[case.key] == line
    assert file.check() >= 1


def test_explain_takes_a_file(capsys, tmp_path):
    case = Case("residual", 33, "bf16")
    path = write(tmp_path / "a.tune", [f"{case.key} {_C.tune_tiles(case.key, 0)[-1]}"])
    sizes = ["--m", "33", "--n", "256", "--k", "512", "--residual", "--device", "cuda"]
    assert main(["explain", "linear", *sizes, "--tune-file", str(path)]) == 0
    assert f"tuned by {path}, line 6: 1.5 us instead of 2.5" in capsys.readouterr().out
