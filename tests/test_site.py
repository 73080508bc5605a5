"""The pages of the documentation site: their Python and their commands run, their tables are those
of the sources, and the site is built without a warning."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from markdown import blocks, commands_of
from sources import ROOT, cmake_options, environment_variables

from postlude import cli
from postlude.cli import info

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
# These have tests of their own, which look at the results as well.
ELSEWHERE = {"deepspeed.md", "huggingface.md"}
# What a page's examples are about, where that is not torch.
ABOUT = {"jax.md": "jax"}


def written_in(language: str) -> list[Path]:
    """The pages with a block of code in that language."""
    return [page for page in PAGES if f"\n```{language}\n" in page.read_text(encoding="utf-8")]


def name(page: Path) -> str:
    """What a test of the page is called."""
    return page.relative_to(DOCS).as_posix()


@pytest.mark.parametrize(
    "page", [page for page in written_in("python") if name(page) not in ELSEWHERE], ids=name
)
def test_python_runs(page, tmp_path, monkeypatch):
    """In order and in one namespace, in a directory of their own."""
    pytest.importorskip(ABOUT.get(name(page), "torch"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for example in blocks(page, "python"):
        exec(compile(example, page.name, "exec"), names)


# What a command that measures is given besides, so that it measures little.
LITTLE = {
    "bench": ["--m", "1", "--rounds", "1"],
    "demo": ["--rounds", "1"],
    "tune": ["--m", "16", "--rounds", "1"],
}
CONFIG = {"model_type": "llama", "hidden_size": 512, "intermediate_size": 768}
CONFIG.update({"num_attention_heads": 8, "num_key_value_heads": 4, "rms_norm_eps": 1e-6})


@pytest.mark.parametrize("page", written_in("sh"), ids=name)
def test_commands_run(page, device, tmp_path, monkeypatch):
    """In order and in one folder, with the model that they name; each on the device that it needs.
    What needs a GPU is refused in one line where there is none. The builds that CMake is shown with
    are run by tests/test_install.py."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "python"))
    monkeypatch.setenv("PWD", str(tmp_path))
    config = tmp_path / "path" / "to" / "config.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps(CONFIG))
    for program, *arguments in commands_of(page):
        if program == "cmake":
            given = {word[2:].partition("=")[0] for word in arguments if word.startswith("-D")}
            assert given <= cmake_options(), arguments
        elif program == "export":
            variable, _, value = arguments[0].partition("=")
            assert variable in table("Environment variables")
            monkeypatch.setenv(variable, os.path.expandvars(value))
        else:
            assert program == "postlude", program
            cli.make_parser().parse_args(arguments)  # as they stand
            run_command(arguments, device, tmp_path)
    if device == "cuda" and page.name == "command_line.md":
        assert (tmp_path / "results.png").is_file() and (tmp_path / "results.json").is_file()
        assert (tmp_path / "h200.tune").read_text().startswith("postlude tune file 1\n")


def run_command(arguments: list[str], device: str, folder: Path) -> None:
    """Runs `postlude` with these arguments, if that is for this device."""
    on_gpu = "cuda" in arguments or arguments[0] == "tune"
    if on_gpu != (device == "cuda") and (device == "cuda" or torch.cuda.is_available()):
        return
    command = [sys.executable, "-m", "postlude", *arguments, *LITTLE.get(arguments[0], [])]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    there = device == "cuda" if on_gpu else arguments != ["--cmake-dir"] or cli.cmake_dir()
    if there:
        assert run.returncode == 0 and run.stdout, (arguments, run.stderr)
    else:
        assert run.returncode in {1, 2} and run.stderr.count("\n") == 1, (arguments, run.stderr)


def test_no_block_of_code_goes_untested():
    """Each is in a language that a test above runs, or in one of these: tests/test_page_programs.py
    builds and runs all of C and C++, and by the blocks of CMake; tests/test_deepspeed_docs.py
    applies the diff; text is no code."""
    elsewhere = {
        "cpp": ["command_line.md", "guides/cpp.md"],
        "c": ["command_line.md", "guides/cpp.md"],
        "cmake": ["guides/cpp.md"],
        "diff": ["deepspeed.md"],
    }
    for language, pages in elsewhere.items():
        assert [name(page) for page in written_in(language)] == pages
    for page in PAGES:
        fences = re.findall(r"^```(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        languages, ends = fences[::2], fences[1::2]
        assert len(languages) == len(ends) and not any(ends), page
        assert set(languages) <= {"python", "sh", "text", *elsewhere}, page


def table(title: str) -> list[str]:
    """The names in the first column of a table on the page of settings, in order."""
    text = (DOCS / "settings.md").read_text(encoding="utf-8")
    part = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)


def test_every_environment_variable_is_in_the_table():
    listed = table("Environment variables")
    read = environment_variables("src", "python", "tests", "cpp_tests", "benchmarks")
    assert sorted(listed) == sorted(read | {"POSTLUDE_CUDA"})
    assert set(info.ENVIRONMENT) <= set(listed)
    assert 'env = "POSTLUDE_CUDA"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_every_cmake_option_is_in_the_table():
    assert sorted(table("CMake options")) == sorted(cmake_options())


def test_what_the_sources_read_is_found():
    """The search itself finds what is known to be there, of each kind."""
    assert {"POSTLUDE_PDL", "POSTLUDE_STRICT"} <= environment_variables("src", "python")
    known = {"POSTLUDE_CUDA", "POSTLUDE_CUTLASS_DIR", "POSTLUDE_INSTALL", "POSTLUDE_STAGE_PYTHON"}
    assert known | {"POSTLUDE_SANITIZE", "POSTLUDE_LIBFUZZER"} <= cmake_options()


def test_every_page_of_an_operation_has_the_same_parts():
    pages = [page for page in (DOCS / "ops").glob("*.md") if page.stem != "index"]
    assert len(pages) == 6
    for page in pages:
        headings = re.findall(r"^## (.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
        expected = ["Formula", "Arguments", "Example", "Dtypes and layouts", "Limits", "Errors"]
        assert headings == expected, page


def reference_of(language: str) -> str:
    """A page that tools/cpp_reference.py makes."""
    program = ROOT / "tools" / "cpp_reference.py"
    run = subprocess.run([sys.executable, program, language], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_cpp_reference_has_every_public_declaration():
    text = reference_of("cpp")
    for header in (ROOT / "include" / "postlude").glob("*.hpp"):
        source = re.sub(r"//.*", "", header.read_text(encoding="utf-8"))
        names = re.findall(
            r"^(?:class|struct|enum class) (?:POSTLUDE_API )?(\w+) *[:{]", source, re.M
        )
        names += re.findall(r"^POSTLUDE_API [^;({]*?(\w+)\(", source, re.MULTILINE)
        for declared in names:
            assert f"### `{declared}`" in text or f" {declared}(" in text, (header.name, declared)
    assert "POSTLUDE_API" not in text and "private:" not in text and "_;" not in text


def test_the_c_reference_has_every_function():
    text = reference_of("c")
    source = (ROOT / "include" / "postlude" / "postlude.h").read_text(encoding="utf-8")
    functions = re.findall(r"^POSTLUDE_API [^;]*?(postlude_\w+)\(", source, re.MULTILINE)
    assert len(functions) > 40
    assert [function for function in functions if f"{function}(" not in text] == []
    assert text.count("```") % 2 == 0


@pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed (make docs does)"
)
def test_the_site_is_built_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    built = (tmp_path / "performance.html").read_text(encoding="utf-8")
    assert "geometric mean" in built and 'src="benchmarks/results/gpu/blocks_bf16.svg"' in built
    assert (tmp_path / "benchmarks/results/gpu/blocks_bf16.svg").is_file()
