"""Makes the reference pages of the C++ and the C interface from the comments in the headers.

Usage: python tools/cpp_reference.py cpp|c   (prints the page; the documentation site calls `page`)

A declaration is shown as it stands in the header, without the bodies of functions and without
private members; the comment in front of it becomes the text above.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

INCLUDE = Path(__file__).resolve().parent.parent / "include" / "postlude"
# The order of the C++ page: as a reader meets them.
HEADERS = (
    "ops.hpp",
    "params.hpp",
    "epilogue.hpp",
    "activation.hpp",
    "norm.hpp",
    "weight.hpp",
    "bound.hpp",
    "context.hpp",
    "tuning.hpp",
    "stream.hpp",
    "tensor_view.hpp",
    "error.hpp",
)
NOT_SHOWN = {"export.hpp", "version.hpp", "postlude.hpp"}  # macros alone, and the umbrella

_MACRO = "POSTLUDE_API "
_COMMENT = re.compile(r"\s*// ?(.*)")
_BODY = re.compile(r"(\)[^(){};]*?)(?:\s*:\s(?:[^{};]|\{[^{}]*\}(?=\s*,))*)?\s*\{")


class Item(NamedTuple):
    """One declaration, or several that share a comment."""

    comment: list[str]
    code: str


def prose(lines: list[str]) -> str:
    """A comment as Markdown: what is indented, but for the items of lists, becomes a block of
    code."""
    out: list[str] = []
    block: list[str] = []
    in_list = False
    for line in [*lines, ""]:
        indent = len(line) - len(line.lstrip())
        if indent >= (4 if in_list else 2):
            block.append(line)
            continue
        if block:
            out += ["", "```text", *block, "```", ""]
            block = []
        if line.startswith("- "):
            if not in_list:
                out.append("")
            in_list = True
        elif line and not indent:
            in_list = False
        out.append(line.replace("<", "&lt;").replace("*", r"\*"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).strip()


def _after(code: str, start: int) -> int:
    """Where the braces that open at ``start`` have closed."""
    depth = 0
    for index in range(start, len(code)):
        depth += {"{": 1, "}": -1}.get(code[index], 0)
        if depth == 0:
            return index + 1
    raise ValueError(f"braces that do not close: {code[start : start + 80]!r}")


def without_bodies(code: str) -> str:
    """The declarations alone: functions lose their bodies and initialisers."""
    place = 0
    while found := _BODY.search(code, place):
        end = _after(code, found.end() - 1)
        head = code[: found.start()] + found.group(1).rstrip() + ";"
        place = len(head)
        code = head + code[end:].removeprefix(";")
    return code


def public(code: str) -> str:
    """What is for readers: no private members, no macro of ours, no word to other tools."""
    code = re.sub(r"\n*[ ]*private:\n.*?(?=^\};)", "\n", code, flags=re.DOTALL | re.MULTILINE)
    code = re.sub(r" *// NOLINT.*", "", code)
    lines = []
    shift = ""
    for line in code.strip("\n").splitlines():
        if not line.startswith(" "):
            shift = " " * len(_MACRO) if line.startswith(_MACRO) else ""
        lines.append(line.removeprefix(shift).replace(_MACRO, ""))
    return "\n".join(lines)


def body(text: str) -> str:
    """What the header declares: C++'s inside `namespace v1`, C's between the braces of extern."""
    text = text.replace("\ninline namespace v1 {", "\n\1").replace("\n}  // namespace v1", "\n\2")
    if "\1" in text:
        declared = "\n".join(re.findall("\1(.*?)\2", text, re.DOTALL))
        return re.sub(r"^class \w+;\n", "", declared, flags=re.MULTILINE)  # come later
    return text.partition('extern "C" {\n#endif\n')[2].partition("#ifdef __cplusplus")[0]


def items(text: str) -> Iterator[Item]:
    """The declarations of a header's body, each with the comment in front of it."""
    comment: list[str] = []
    code: list[str] = []
    lines = [*text.splitlines(), ""]
    for line in lines:
        is_comment = _COMMENT.fullmatch(line)
        if not code and is_comment:
            comment.append(is_comment.group(1))
        elif line.strip() or (code and not complete("\n".join(code))):
            code.append(line)
        elif code or comment:
            yield Item(comment, "\n".join(code))
            comment, code = [], []


def complete(code: str) -> bool:
    """Whether what was opened is closed."""
    conditions = len(re.findall(r"^#if", code, re.MULTILINE)) - code.count("\n#endif")
    return code.count("{") == code.count("}") and conditions == 0


def name_of(code: str) -> str:
    """The name of what is declared first, or "" for what has none."""
    plain = "\n".join(line.partition("//")[0] for line in code.splitlines())
    alias = re.search(r"typedef[^;]*?\b(\w+);", plain)
    if alias and plain.startswith("#if"):
        return alias.group(1)
    kinds = r"\b(?:class|struct|enum class|enum)\s+(?:POSTLUDE_API\s+)?(\w+)\s*(?:final\s*)?[:{]"
    if found := re.search(kinds, plain):
        return found.group(1)
    if alias:
        return alias.group(1)
    found = re.search(r"(operator[^\w\s(]+|\w+)\(", plain)
    return found.group(1) if found else ""


def opening(text: str) -> list[str]:
    """The comment with which a header begins."""
    lines: list[str] = []
    for line in text.splitlines():
        if not (found := _COMMENT.fullmatch(line)):
            break
        lines.append(found.group(1))
    return lines


def section(header: str, level: str = "##") -> Iterator[str]:
    """One header: its opening comment, then every declaration."""
    text = (INCLUDE / header).read_text(encoding="utf-8")
    yield f"{level} {header}"
    yield prose(opening(text))
    last = ""
    for item in items(body(text)):
        code = public(without_bodies(item.code))
        name = name_of(code) if code else ""
        if name and name != last:
            yield f"{level}# `{name}`"
        if not code and len(item.comment) == 1:  # a heading among the declarations of C
            yield f"**{item.comment[0].rstrip('.')}**"
        elif item.comment:
            yield prose(item.comment)
        if code:
            yield f"```cpp\n{code}\n```"
        last = name


def page(language: str) -> str:
    """The Markdown of the page of "cpp" or "c". ValueError where a header has no place on it."""
    if language == "c":
        return "\n\n".join(["# C reference", *section("postlude.h")]) + "\n"
    found = {path.name for path in INCLUDE.glob("*.hpp")}
    if found != {*HEADERS, *NOT_SHOWN}:
        raise ValueError(
            f"tools/cpp_reference.py, HEADERS: expected the public headers {sorted(found)}, got "
            f"{sorted({*HEADERS, *NOT_SHOWN})}"
        )
    parts = [
        "# C++ reference",
        "Everything is in the namespace `postlude`; `#include <postlude/postlude.hpp>` brings all "
        "of it.",
    ]
    for header in HEADERS:
        parts += section(header)
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    print(page(sys.argv[1]), end="")
