"""The pages of the documentation site: their examples run or compile, their tables are those of the
sources, and the site is built without a warning."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from markdown import blocks, compile_text
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


@pytest.mark.parametrize("page", written_in("cpp"), ids=name)
@pytest.mark.parametrize("standard", ["c++17", "c++20"])
def test_cpp_compiles(page, standard):
    """All blocks of a page as one program."""
    compile_text("\n".join(blocks(page, "cpp")), standard)


@pytest.mark.parametrize("page", written_in("c"), ids=name)
def test_c_compiles(page):
    compile_text("\n".join(blocks(page, "c")), "c99")


def commands_of(page: Path) -> list[list[str]]:
    """The words of every command in the page's blocks of sh."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    parts = [part for line in lines for part in line.split("&&")]
    return [words for part in parts if (words := shlex.split(part, comments=True))]


@pytest.mark.parametrize("page", written_in("sh"), ids=name)
def test_commands_are_taken(page, capsys):
    """The command takes every option that it is shown with; what measures nothing also runs. The
    builds that CMake is shown with are those of tests/test_install.py."""
    for program, *arguments in commands_of(page):
        if program == "postlude":
            cli.make_parser().parse_args(arguments)
            if arguments[0] in {"info", "explain"} and "cuda" not in arguments:
                assert cli.main(arguments) == 0, arguments
                assert capsys.readouterr().out
        elif program == "cmake":
            given = {word[2:].partition("=")[0] for word in arguments if word.startswith("-D")}
            assert given <= cmake_options(), arguments
        else:
            assert program == "export", program
            assert arguments[0].partition("=")[0] in table("Environment variables")


def test_no_block_of_code_goes_untested():
    """Each is in a language that a test above runs, or in one of these: tests/test_install.py
    builds with the blocks of CMake, tests/test_deepspeed_docs.py runs the diff, text is no code."""
    elsewhere = {"cmake": ["guides/cpp.md"], "diff": ["deepspeed.md"]}
    for language, pages in elsewhere.items():
        assert [name(page) for page in written_in(language)] == pages
    for page in PAGES:
        fences = re.findall(r"^```(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        languages, ends = fences[::2], fences[1::2]
        assert len(languages) == len(ends) and not any(ends), page
        assert set(languages) <= {"python", "cpp", "c", "sh", "text", *elsewhere}, page


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
