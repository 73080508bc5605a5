"""``postlude tune`` without a GPU: what is kept of measured times, a file that no crash and no
second run can harm, and errors of one line."""

import contextlib
import errno
import fcntl
import itertools
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tune_support import HEADER, key, line

import postlude
from postlude import _files
from postlude._interop import _C
from postlude.cli import main, models, tune
from postlude.cli.tune_file import TuneFile

TESTS = Path(__file__).resolve().parent


def read(path):
    """The file's entries; the strict parser refuses any that is not whole."""
    table = _C.TuneTable.read(str(path))
    assert table.header == HEADER
    return dict(table.entries)


def command(capsys, *arguments, status):
    assert main([*map(str, arguments)]) == status
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1, printed
    return printed.err


# The file.


def test_a_file_is_made_and_added_to(tmp_path):
    file = TuneFile(tmp_path / "a.tune", HEADER)
    assert file.check() == 0 and not file.path.exists()
    file.update({key(1): line(1), key(2): None})
    file.update({key(3): line(3)})
    assert read(file.path) == {key(1): line(1), key(3): line(3)}
    file.update({key(1): line(1, us=40.5), key(3): None})
    assert read(file.path) == {key(1): line(1, us=40.5)}
    assert file.check() == 1
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o644
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tune", "a.tune.lock"]


@pytest.mark.parametrize(
    ("old", "new"),
    [("of tests", "of others"), (f"version {postlude.__version__}", "version 0.0.9")],
)
def test_a_file_of_another_gpu_or_version_is_not_touched(tmp_path, old, new):
    path = tmp_path / "a.tune"
    path.write_text(HEADER.replace(old, new) + line(1) + "\n")
    before = path.read_bytes()
    file = TuneFile(path, HEADER)
    for attempt in (file.check, lambda: file.update({key(2): line(2)})):
        with pytest.raises(ValueError, match=r"^\[tune\] out: expected a file of this GPU and ver"):
            attempt()
    assert path.read_bytes() == before


def test_a_file_that_is_none_is_not_touched(tmp_path):
    path = tmp_path / "a.tune"
    for text in ("", "a letter\n", HEADER + line(1), HEADER + line(1) + "\n" + line(1) + "\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"^\[tune_file\] .*a\.tune, line \d+: expected"):
            TuneFile(path, HEADER).update({key(2): line(2)})
        assert path.read_text() == text


def test_a_line_that_could_not_be_read_is_not_written(tmp_path):
    file = TuneFile(tmp_path / "a.tune", HEADER)
    file.update({key(1): line(1)})
    with pytest.raises(ValueError, match="line 7: expected us= microseconds"):
        file.update({key(2): line(2, us=float("nan"))})
    assert read(file.path) == {key(1): line(1)}


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    file = TuneFile(tmp_path / "a.tune", HEADER)
    file.update({key(1): line(1)})

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        file.update({key(2): line(2)})
    assert read(file.path) == {key(1): line(1)}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tune", "a.tune.lock"]


# Kills itself within the second write, at the call of this name.
KILLED = """
import os, signal, sys
from pathlib import Path
from tune_support import HEADER, key, line
from postlude.cli.tune_file import TuneFile
file = TuneFile(Path(sys.argv[1]), HEADER)
file.update({key(1): line(1)})
setattr(os, sys.argv[2], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
file.update({key(2): line(2)})
print("still there")
"""


def child(program, *arguments):
    path = os.pathsep.join([str(TESTS), str(Path(postlude.__file__).parent.parent)])
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("call", ["fchmod", "fsync", "replace"])
def test_a_run_that_is_killed_leaves_the_old_file(tmp_path, call):
    path = tmp_path / "a.tune"
    killed = child(KILLED, path, call)
    said = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, said
    assert read(path) == {key(1): line(1)}
    assert len([p for p in tmp_path.iterdir() if p.name.endswith(".tmp")]) == 1
    TuneFile(path, HEADER).update({key(3): line(3)})  # neither its lock nor its rest is in the way
    assert read(path) == {key(1): line(1), key(3): line(3)}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tune", "a.tune.lock"]


# Tunes problems with a timer that knows the answer, one entry after the other; says when it began.
RUN = """
import sys
from pathlib import Path
from tune_support import HEADER
from postlude.cli.tune import Problem, tune
from postlude.cli.tune_file import TuneFile
first, count = int(sys.argv[2]), int(sys.argv[3])
problems = [Problem("bf16", m, 64, 128, "plain") for m in range(first, first + count)]
print("begun", flush=True)
tune(problems, TuneFile(Path(sys.argv[1]), HEADER), lambda key: ["kernel=test.tiled tile=large"],
     lambda problem, tiles: (43.0, {tiles[0]: 41.2}))
"""


def test_runs_side_by_side_lose_nothing(tmp_path):
    path, count = tmp_path / "a.tune", 15
    runs = [child(RUN, path, 1 + count * i, count) for i in range(4)]
    for run in runs:
        said = run.communicate()
        assert run.returncode == 0, said
    assert set(read(path)) == {key(m) for m in range(1, 1 + 4 * count)}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tune", "a.tune.lock"]


def test_a_file_is_whole_whenever_a_run_is_killed(tmp_path):
    """At many moments, beside another run."""
    path = tmp_path / "a.tune"
    TuneFile(path, HEADER).update({key(1): line(1)})
    for turn in range(4):
        runs = [child(RUN, path, 1000 * turn + 500 * i + 2, 400) for i in range(2)]
        for run in runs:
            run.stdout.readline()
        for moment in range(3):
            assert key(1) in read(path), moment
            threading.Event().wait(0.02 * (1 + turn))
        for run in runs:
            run.kill()
            run.communicate()
        assert key(1) in read(path)


def test_a_lock_that_is_held_is_waited_for(tmp_path):
    lock, inside = tmp_path / "lock", []
    with _files.turn(lock, 5.0, required=True):

        def wait():
            with _files.turn(lock, 5.0, required=True):
                inside.append(True)

        other = threading.Thread(target=wait)
        other.start()
        other.join(0.1)
        assert not inside
        with (
            pytest.raises(OSError, match=r"held it for 0\.05 seconds"),
            _files.turn(lock, 0.05, required=True),
        ):
            pass
        with _files.turn(lock, 0.05, required=False):
            pass
    other.join()
    assert inside


def test_a_lock_that_cannot_be_had_says_why(tmp_path, monkeypatch):
    def locked():
        with pytest.raises(OSError) as caught, _files.turn(tmp_path / "lock", 0.0, required=True):
            pass
        with _files.turn(tmp_path / "lock", 0.0, required=False):  # goes on without
            return str(caught.value)

    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    start = f"{tmp_path}/lock cannot be locked: "
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        errors = [locked()]
    monkeypatch.setitem(sys.modules, "fcntl", None)  # its import fails
    errors.append(locked())
    assert errors == [
        f"{start}its file system says [Errno {errno.ENOLCK}] No locks available",
        f"{start}this system has no POSIX locks",
    ]


# What is kept.


def test_a_winner_is_faster_by_more_than_the_margin():
    problem = tune.Problem("bf16", 16, 64, 128, "plain")
    kept = tune.judge(problem, 10.3, {"kernel=a tile=b": 10.0, "kernel=a tile=c": 10.1})
    assert kept.tile == "kernel=a tile=b"
    assert kept.line == f"{key(16)} kernel=a tile=b us=10.00 shipped_us=10.30"
    for times in ({"kernel=a tile=b": 10.0}, {"kernel=a tile=b": 12.0}, {}):
        none = tune.judge(problem, 10.19, times)
        assert none.tile is None and none.line is None and none.us == none.shipped_us


def test_each_problem_is_timed_once_and_written_at_once(tmp_path):
    file = TuneFile(tmp_path / "a.tune", HEADER)
    problems = [tune.Problem("bf16", m, 64, 128, "plain") for m in (1, 2, 3, 4)]
    tiles = {key(1): ["kernel=a tile=b"], key(2): [], key(3): ["kernel=a tile=b"]}
    seen = []

    def timer(problem, names):
        seen.append((problem.m, set(read(file.path)) if file.path.exists() else None))
        if problem.m == 4:
            raise RuntimeError("the GPU is gone")
        return 10.0, dict.fromkeys(names, 5.0 if problem.m == 1 else 9.9)

    with pytest.raises(RuntimeError, match="is gone"):
        tune.tune(problems, file, lambda key: tiles.get(key, ["kernel=a tile=b"]), timer)
    assert seen == [(1, None), (3, {key(1)}), (4, {key(1)})]
    assert list(read(file.path)) == [key(1)]


def test_a_problem_that_the_library_now_chooses_best_is_taken_out(tmp_path):
    file = TuneFile(tmp_path / "a.tune", HEADER)
    file.update({key(1): line(1), key(2): line(2)})
    one = [tune.Problem("bf16", 1, 64, 128, "plain")]
    results = tune.tune(one, file, lambda _: ["kernel=a tile=b"], lambda *_: (10.0, {"t": 10.0}))
    assert results[0].tile is None
    assert list(read(file.path)) == [key(2)]


def test_the_problems_of_a_model():
    llama = tune.problems_of(models.MODELS["llama-3-8b"], [1, 16], "bf16")
    assert [(p.m, p.n, p.k, p.epilogue) for p in llama[:4]] == [
        (1, 6144, 4096, "plain"),
        (1, 6144, 4096, "scaled"),
        (1, 14336, 4096, "gated"),
        (1, 4096, 14336, "residual"),
    ]
    assert len(llama) == 8 and llama[2].activation == "silu"
    bert = tune.problems_of(models.MODELS["bert-base"], [7, 7], "f16")
    assert [p.epilogue for p in bert] == ["plain", "scaled", "activation", "residual"]
    # The core knows each by its key.
    table = HEADER + "".join(f"{p.key} kernel=a tile=b us=1 shipped_us=2\n" for p in llama)
    keys = [name for name, _ in _C.TuneTable.parse(table, "t").entries]
    assert keys == [p.key for p in llama]


# Timing, on the CPU, where a table says nothing.


@pytest.mark.parametrize("epilogue", ["plain", "activation", "gated", "residual", "scaled"])
def test_the_timer_calls_each_kind_of_product(epilogue, monkeypatch):
    from postlude.cli import tune_timing

    seen = []

    def using(table):
        seen.append(table.name)
        return contextlib.nullcontext()

    monkeypatch.setattr(tune_timing, "using", using)
    monkeypatch.setattr(tune_timing, "copies_of", lambda size: 2)
    activation = "silu" if epilogue in ("activation", "gated") else None
    problem = tune.Problem("f32", 7, 24, 48, epilogue, activation)
    tiles = [f"kernel=test.tiled tile=t{i}" for i in range(6)]
    shipped, times = tune_timing.GpuTimer("cpu", HEADER, 1)(problem, tiles)
    assert seen[:7] == ["", *tiles] and sorted(seen[7:]) == sorted(times)
    assert shipped > 0 and len(times) == 4 and set(times) < set(tiles) and min(times.values()) > 0


def test_the_timer_refuses_a_tile_that_computes_something_else(monkeypatch):
    import torch

    from postlude.cli import tune_timing

    values = itertools.count(1.0)
    timer = tune_timing.GpuTimer("cpu", HEADER, 1)
    monkeypatch.setattr(timer, "_calls", lambda _: [lambda: torch.full((2, 3), next(values))])
    problem = tune.Problem("f32", 7, 24, 48, "plain")
    said = "kernel=test.tiled tile=a: differs from the library's choice by"
    with pytest.raises(RuntimeError, match=said):
        timer(problem, ["kernel=test.tiled tile=a"])


# The command, and what takes a file.


def test_without_a_gpu_there_is_nothing_to_tune(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("postlude.cli.info.gpus", lambda: "no CUDA driver")
    out = ["--out", tmp_path / "a.tune"]
    said = command(capsys, "tune", "bert-base", "--device", "cpu", *out, status=2)
    assert said.startswith("[tune] device: expected a GPU, as products on the CPU have no tiles")
    said = command(capsys, "tune", "bert-base", *out, status=2)
    assert "no CUDA driver" in said or "a build of Postlude without CUDA" in said
    monkeypatch.setattr(postlude, "show_config", lambda: "cuda: toolkit 12.8")
    assert "no CUDA driver" in command(capsys, "tune", "bert-base", *out, status=2)
    monkeypatch.setattr("postlude.cli.info.gpus", list)
    assert "got no GPU" in command(capsys, "tune", "bert-base", *out, status=2)
    assert list(tmp_path.iterdir()) == []


def test_errors_are_one_line(capsys, tmp_path):
    out = ["--out", tmp_path / "a.tune"]
    for arguments, said in {
        ("no-such-model",): "[tune] model: expected one of minilm-l6, ",
        (): "[tune] model: expected a model, or --hidden",
        ("bert-base", "--m", "0"): "[tune] m: expected numbers from 1 up, with commas",
        ("bert-base", "--rounds", "0"): "[tune] rounds: expected a number from 1 up, got 0",
    }.items():
        assert command(capsys, "tune", *arguments, *out, status=1).startswith(said)
    explain = ["explain", "linear", "--m", 1, "--n", 2, "--k", 3, "--tune-file", tmp_path / "a"]
    said = command(capsys, *explain, status=1)
    assert said.startswith("[explain] tune_file: expected a GPU as the device")


def test_info_says_what_a_tune_file_is_for(capsys, tmp_path, monkeypatch):
    path = tmp_path / "a.tune"
    monkeypatch.setenv("POSTLUDE_TUNE_FILE", str(path))
    assert main(["info"]) == 0
    assert f"tune file: [tune_file] {path}: expected a file that can" in capsys.readouterr().out
    TuneFile(path, HEADER).update({key(1): line(1)})
    assert main(["info"]) == 0
    said = f"tune file: {path}: 1 entries for gpu A GPU (of tests), arch sm_90, multiprocessors 132"
    assert said in capsys.readouterr().out


def test_tuned_holds_for_its_block_and_thread(tmp_path):
    path = tmp_path / "a.tune"
    TuneFile(path, HEADER).update({key(1): line(1)})

    def current():
        table = _C.exchange_tune_table(None)
        _C.exchange_tune_table(table)
        return None if table is None else table.name

    def in_another_thread():
        seen = []
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
        return seen[0]

    with pytest.raises(KeyError), postlude.tuned(path):
        assert current() == str(path)
        with postlude.tuned(None):
            assert current() == ""
        assert current() == str(path)
        assert in_another_thread() is None
        raise KeyError
    assert current() is None
    with pytest.raises(ValueError, match=r"\[tune_file\] .*: expected a file that can be read"):
        postlude.tuned(tmp_path / "none").__enter__()
    with postlude.tuned(path):  # the CPU has nothing to tune
        import numpy as np

        ones = np.ones((1, 128), np.float32)
        assert postlude.ops.linear(ones, ones)[0, 0] == 128
        assert "tune" not in postlude.explain("linear", ones, ones)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (line(1).replace("m=1", "m=0"), "line 6: expected m= a number from 1 to 10^15, got '0'"),
        (line(1).replace("bf16", "i8"), "line 6: expected dtype= one of f32, bf16, f16, got 'i8'"),
        (line(1) + " ", "line 6: expected no blank at the end, got one"),
        (line(1) + "\n\n" + line(1), "line 8: expected one entry for a problem, got a second"),
        ("\N{SNOWMAN}", "line 6: expected dtype=..., got '"),
    ],
)
def test_mistakes_are_value_errors_with_file_and_line(wrong, said):
    with pytest.raises(ValueError) as error:
        _C.TuneTable.parse(HEADER + wrong + "\n", "a.tune")
    assert str(error.value).startswith(f"[tune_file] a.tune, {said}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "line 1: expected a newline at the end, got '??'"),
        (HEADER.encode() + b"m=\xff\n", "line 6: expected dtype=..., got 'm=?'"),
        (HEADER.replace("A GPU", "\xc4").encode(), "line 3: expected 'gpu' and a text of ASCII"),
        (HEADER.replace("A GPU", "\xc4").encode("latin-1"), "line 3: expected 'gpu' and a text of"),
    ],
)
def test_bytes_that_are_no_text_are_named(tmp_path, content, said):
    path = tmp_path / "a.tune"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        _C.TuneTable.read(str(path))
    assert str(error.value).startswith(f"[tune_file] {path}, {said}")


def test_every_prefix_of_a_file_is_refused_or_whole():
    text = HEADER + "# a remark\n\n" + line(1) + "\n" + line(2) + "\n"
    whole = [len(HEADER)]
    whole += list(itertools.accumulate(map(len, text[len(HEADER) :].splitlines(True)), initial=0))
    taken = []
    for end in range(len(text) + 1):
        try:
            _C.TuneTable.parse(text[:end], "a.tune")
        except ValueError:
            continue
        taken.append(end)
    assert taken == sorted({len(HEADER) + n for n in whole[1:]})
