"""The table of tuned tiles on disk stays whole, and what befalls it costs one warning.

Needs no triton.
"""

import json
import os
import stat
import subprocess
import sys
import warnings

import pytest

from postlude.triton import table
from postlude.triton.table import Table

pytestmark = pytest.mark.filterwarnings("error:postlude.triton:RuntimeWarning")
KEY, CHOICE = "a device | a product", (16, 64, 64, 4, 4)


def test_a_table_keeps_and_gives(tmp_path):
    directory = tmp_path / "not" / "there" / "yet"
    first = Table(directory)
    assert first.get(KEY) is None
    assert not directory.exists()
    first.put(KEY, CHOICE, 12.3456)
    assert first.get(KEY) == CHOICE
    assert Table(directory).get(KEY) == CHOICE
    content = json.loads(first.path.read_text())
    entry = {"choice": list(CHOICE), "microseconds": 12.346}
    assert content == {"format": table.FORMAT, "entries": {KEY: entry}}
    assert sorted(file.name for file in directory.iterdir()) == ["triton.json", "triton.lock"]


def test_tables_of_two_processes_are_merged(tmp_path):
    one, other = Table(tmp_path), Table(tmp_path)
    assert one.get("a") is None and other.get("b") is None
    one.put("a", CHOICE, 1.0)
    other.put("b", CHOICE, 1.0)
    one.put("c", CHOICE, 1.0)
    assert set(json.loads(one.path.read_text())["entries"]) == {"a", "b", "c"}
    assert one.get("b") == CHOICE


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ""),
        (b"{", ""),
        (b"\xff\xfe", ""),
        (b"[]", "expected an object of format 1"),
        (b"{}", "expected an object of format 1"),
        (b'{"format": 99, "entries": {}}', "expected an object of format 1"),
        (b'{"format": 1, "entries": []}', "expected entries"),
        (b'{"format": 1, "entries": {"a": 1}}', "a choice of integers for 'a'"),
        (b'{"format": 1, "entries": {"a": {"choice": ["x"]}}}', "a choice of integers for 'a'"),
        (b'{"format": 1, "entries": {"a": {"choice": [1.5, true]}}}', "a choice of integers"),
        (b"[" * 100_000, ""),
    ],
)
def test_a_corrupt_file_is_ignored_with_a_warning_and_rewritten(content, words, tmp_path):
    (tmp_path / table.FILE).write_bytes(content)
    broken = Table(tmp_path)
    with pytest.warns(RuntimeWarning, match=rf"triton\.json .*{words}.* ignored") as said:
        assert broken.get(KEY) is None
        broken.put(KEY, CHOICE, 1.0)
        assert broken.get("another") is None
    assert len(said) == 1
    assert Table(tmp_path).get(KEY) == CHOICE


def test_a_failed_write_leaves_the_old_table(tmp_path, monkeypatch):
    kept = Table(tmp_path)
    kept.put(KEY, CHOICE, 1.0)
    before = kept.path.read_bytes()

    def fail(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.warns(RuntimeWarning, match="cannot be written.*No space left.*in memory") as said:
        kept.put("new", CHOICE, 1.0)
        kept.put("newer", CHOICE, 1.0)
    assert len(said) == 1
    assert kept.get("new") == kept.get("newer") == CHOICE
    assert kept.path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["triton.json", "triton.lock"]


def test_a_directory_that_cannot_be_written(tmp_path):
    """A read-only one, where permissions bind this user; a path through a file for everyone."""
    (tmp_path / "file").write_text("")
    places = [tmp_path / "file" / "below"]
    locked = tmp_path / "locked"
    locked.mkdir()
    Table(locked).put("old", CHOICE, 1.0)
    locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        (locked / "probe").touch()
    except PermissionError:
        places.append(locked)
    for place in places:
        memory = Table(place)
        with pytest.warns(RuntimeWarning, match="in memory only|is ignored") as said:
            assert memory.get(KEY) is None
            memory.put(KEY, CHOICE, 1.0)
            memory.put("another", CHOICE, 1.0)
        assert len(said) == 1
        assert memory.get(KEY) == memory.get("another") == CHOICE
    locked.chmod(stat.S_IRWXU)
    assert Table(locked).get("old") == CHOICE


def test_no_home_directory(monkeypatch):
    for name in ("POSTLUDE_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(table.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert table.cache_directory() is None
    memory = Table(None)
    assert memory.get(KEY) is None
    words = "there is no home directory, and POSTLUDE_CACHE_DIR is not set"
    with pytest.warns(RuntimeWarning, match=words):
        memory.put(KEY, CHOICE, 1.0)
    assert memory.get(KEY) == CHOICE


def test_where_the_table_is(monkeypatch, tmp_path):
    monkeypatch.setenv("POSTLUDE_CACHE_DIR", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "shared"))
    assert table.cache_directory() == tmp_path / "own"
    monkeypatch.delenv("POSTLUDE_CACHE_DIR")
    assert table.cache_directory() == tmp_path / "shared" / "postlude"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert table.cache_directory() == tmp_path / ".cache" / "postlude"


WRITER = """
import sys
from pathlib import Path
from postlude.triton.table import Table
name, table = sys.argv[1], Table(Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
for index in range(40):
    table.put(f"{name} {index}", (index,), 1.0)
"""


def test_processes_that_write_at_once_lose_nothing(tmp_path):
    command = [sys.executable, "-c", WRITER]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        writers = [
            subprocess.Popen(
                [*command, name, str(tmp_path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for name in "abc"
        ]
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            writer.stdin.write("go\n")
            writer.stdin.flush()
        while any(writer.poll() is None for writer in writers):
            if (tmp_path / table.FILE).exists():
                Table(tmp_path).get(KEY)  # a reader never finds half a file
        for writer in writers:
            _, errors = writer.communicate()
            assert writer.returncode == 0, errors
    entries = json.loads((tmp_path / table.FILE).read_text())["entries"]
    assert set(entries) == {f"{name} {index}" for name in "abc" for index in range(40)}
