"""`make doxygen`: what Doxygen documents is what the reference pages have, each described."""

import shutil
import subprocess

import cpp_reference
import doxygen
import pytest
from sources import ROOT

HEADERS = [cpp_reference.INCLUDE / name for name in (*cpp_reference.HEADERS, "postlude.h")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of what Doxygen makes of the headers by docs/Doxyfile, without HTML."""
    if shutil.which("doxygen") is None:
        pytest.skip("doxygen is not installed; no part of the build needs it")
    folder = tmp_path_factory.mktemp("doxygen")
    settings = f"""
        @INCLUDE = docs/Doxyfile
        OUTPUT_DIRECTORY = "{folder}"
        GENERATE_TAGFILE = "{folder}/postlude.tag"
        GENERATE_HTML = NO
    """
    command = ["doxygen", "-"]
    run = subprocess.run(command, input=settings, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0 and not run.stderr, run.stderr
    return folder


def test_doxygen_has_what_the_reference_pages_have(made):
    assert list(doxygen.problems(made / "xml")) == []


def test_the_tag_file_has_members_without_a_comment_too(made):
    text = (made / "postlude.tag").read_text(encoding="utf-8")
    for name in ("numel", "col_scale", "explain", "postlude_mlp_explain", "POSTLUDE_SILU"):
        assert f"<name>{name}</name>" in text or f">{name}</enumvalue>" in text, name
    assert "postlude::Context</name>" in text and "v1::" not in text and "detail</name>" not in text


def test_what_doxygen_lost_or_did_not_describe_is_reported(made, tmp_path):
    """Of a copy in which one function has another name and one struct no text."""
    shutil.copytree(made / "xml", tmp_path / "xml")
    functions = tmp_path / "xml" / "namespacepostlude.xml"
    text = functions.read_text(encoding="utf-8")
    functions.write_text(text.replace("<name>pack_weight</name>", "<name>packed</name>"))
    struct = tmp_path / "xml" / "structpostlude_1_1Device.xml"
    text = struct.read_text(encoding="utf-8")
    described = "A device; the CPU is one, whatever the index."
    assert text.count(described) == 1
    struct.write_text(text.replace(described, ""))
    found = list(doxygen.problems(tmp_path / "xml"))
    starts = ["weight.hpp: pack_weight: expected 1 ", "weight.hpp: packed: expected 0 "]
    starts += ["tensor_view.hpp: postlude::Device: no comment"]
    assert len(found) == 3, found
    for problem, start in zip(found, starts, strict=True):
        assert problem.startswith(start), found


def test_without_xml_every_declaration_is_missing(tmp_path):
    found = list(doxygen.problems(tmp_path))
    assert len(found) == sum(len(doxygen.on_the_page(header)) for header in HEADERS) > 100
    assert doxygen.main("check", tmp_path) == 1


def test_names_are_counted_as_often_as_they_are_declared():
    ops = doxygen.on_the_page(cpp_reference.INCLUDE / "ops.hpp")
    assert ops["workspace_size"] == ops["explain"] == 5 and ops["linear"] == 1 and len(ops) == 8
    tuning = doxygen.on_the_page(cpp_reference.INCLUDE / "tuning.hpp")
    assert tuning["operator=="] == tuning["TuneTable"] == 1 and "" not in tuning
    c = doxygen.on_the_page(cpp_reference.INCLUDE / "postlude.h")
    assert c["postlude_tensor"] == c["postlude_status"] == c["postlude_mlp"] == c[""] == 1


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.name)
def test_every_declaration_has_a_comment(header):
    """What Doxygen would say, where it is not installed."""
    for item in cpp_reference.items(cpp_reference.body(header.read_text(encoding="utf-8"))):
        assert not item.code or any(item.comment), item.code


def test_comments_are_marked():
    """One above two declarations, one behind a member, and what must stay as it is."""
    code = """struct Pair {
  int a;  // a < b * 2
  int b;

  // Both.
  int sum(int first,
          int second) const;
  int product() const;

  int rest() const;
};"""
    assert list(doxygen.documented(["Two numbers:", "", "  a, b"], code)) == [
        "/// Two numbers:",
        "///",
        "/// ```text",
        "///   a, b",
        "/// ```",
        "struct Pair {",
        r"  int a;  ///< a &lt; b \* 2",
        "  int b;",
        "",
        "  /// Both.",
        "  int sum(int first,",
        "          int second) const;",
        "  /// Both.",
        "  int product() const;",
        "",
        "  int rest() const;",
        "};",
    ]
