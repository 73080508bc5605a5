"""What `make doxygen` needs beside Doxygen: a filter that gives it our headers with its own marks,
and a check that its result has all that the reference pages have.

Usage: python tools/doxygen.py filter HEADER   (prints the header; docs/Doxyfile calls it)
       python tools/doxygen.py check XML       (Doxygen's folder; exits with 1 where they differ)
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import cpp_reference

_TYPES = ("class", "struct")  # the kinds of Doxygen's compounds that we have
_TRAILING = re.compile(r"(.*\S)\s*//\s*(.*)")
_CLOSED = re.compile(r"[;,{}:]$|^#")  # how a declaration's last line ends


def marked(comment: list[str], indent: str = "") -> list[str]:
    """A comment as one of Doxygen's, in Markdown."""
    return [f"{indent}/// {line}".rstrip() for line in cpp_reference.prose(comment).splitlines()]


def documented(comment: list[str], code: str) -> Iterator[str]:
    """Declarations with the comments in front of and behind them marked. One comment is that of all
    declarations up to a blank line or to the next comment, so that each of them gets it."""
    last_was_comment = False
    declaration = ""  # the one that the last line left open
    for line in code.splitlines():
        indent = " " * (len(line) - len(line.lstrip()))
        if line.lstrip().startswith("//"):
            text = line.lstrip().removeprefix("//").removeprefix(" ")
            comment = [*comment, text] if last_was_comment else [text]
            last_was_comment = True
            continue
        last_was_comment = False
        if not line.strip():
            comment = []
        elif not declaration and not line.lstrip().startswith(("#", "}")):
            yield from marked(comment, indent)
        behind = _TRAILING.fullmatch(line)
        plain = behind.group(1) if behind else line
        declaration += plain.strip()
        if _CLOSED.search(plain) and declaration.count("(") == declaration.count(")"):
            declaration = ""
        if plain.endswith(("{", "#else")):  # what comes in there has comments of its own
            comment = []
        yield f"{plain}  ///< {escaped(behind.group(2))}" if behind else line


def escaped(text: str) -> str:
    """A line of comment without what Markdown or Doxygen would read as a mark."""
    return text.replace("<", "&lt;").replace("*", r"\*")


def filtered(header: Path) -> Iterator[str]:
    """A header's lines as Doxygen is to read them: the declarations of the reference page, without
    bodies and private members, in the namespace as users write it (without v1)."""
    text = header.read_text(encoding="utf-8")
    opening = cpp_reference.opening(text)
    yield from ["/// \\file", *marked(opening)]
    if header.name in cpp_reference.NOT_SHOWN:
        yield from text.splitlines()[len(opening) :]
        return
    yield from [line for line in text.splitlines() if line.startswith("#include")]
    is_c = header.suffix == ".h"
    yield "" if is_c else "namespace postlude {"
    for item in cpp_reference.items(cpp_reference.body(text)):
        code = cpp_reference.public(cpp_reference.without_bodies(item.code))
        if code:
            yield ""
            yield from documented(item.comment, code)
    yield "" if is_c else "}"


def declarations(code: str) -> Iterator[str]:
    """The outermost declarations of an item of the reference page, one by one; of the two branches
    of a condition, the second, which is Doxygen's too."""
    code = re.sub(r"^#if.*?^#else$", "", code, flags=re.DOTALL | re.MULTILINE)
    lines = [line.partition("//")[0] for line in code.splitlines() if not line.startswith("#")]
    start = depth = 0
    plain = "\n".join(lines)
    for place, sign in enumerate(plain):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if sign == ";" and depth == 0:
            yield plain[start : place + 1].strip()
            start = place + 1


def on_the_page(header: Path) -> Counter[str]:
    """The names that the reference page shows of this header, each as often as it is declared."""
    names: Counter[str] = Counter()
    for item in cpp_reference.items(cpp_reference.body(header.read_text(encoding="utf-8"))):
        code = cpp_reference.public(cpp_reference.without_bodies(item.code))
        names.update(map(cpp_reference.name_of, declarations(code)))
    return names


def of_doxygen(folder: Path) -> tuple[dict[str, Counter[str]], list[str]]:
    """The same names as Doxygen's XML has them, by header, and those without a description."""
    names: dict[str, Counter[str]] = {}
    bare: list[str] = []
    for path in sorted(folder.glob("*.xml")):
        for compound in ElementTree.parse(path).getroot().iter("compounddef"):
            found = []
            if compound.get("kind") in _TYPES:
                found = [(compound, compound.findtext("compoundname", ""))]
            elif compound.get("kind") in {"namespace", "file"}:
                found = [(one, one.findtext("name", "")) for one in compound.iter("memberdef")]
            for element, name in found:
                location = element.find("location")
                header = Path(location.get("file", "") if location is not None else "").name
                if element.get("kind") == "define" or (
                    compound.get("kind") == "file" and header.endswith(".hpp")
                ):
                    continue  # a namespace's members are those of its files again
                if name.startswith("@"):  # Doxygen's name for what has none
                    name = ""
                names.setdefault(header, Counter())[name.removeprefix("postlude::")] += 1
                words = (element.find("briefdescription"), element.find("detaileddescription"))
                if not any(word is not None and "".join(word.itertext()).strip() for word in words):
                    bare.append(f"{header}: {name}")
    return names, bare


def problems(folder: Path) -> Iterator[str]:
    """Each public declaration on which Doxygen's XML and the reference pages differ, and each that
    has no description."""
    found, bare = of_doxygen(folder)
    for header in (*cpp_reference.HEADERS, "postlude.h"):
        page, doxygen = on_the_page(cpp_reference.INCLUDE / header), found.pop(header, Counter())
        for name in sorted(page | doxygen):
            if page[name] != doxygen[name]:
                yield (
                    f"{header}: {name}: expected {page[name]} declarations, as on the reference "
                    f"page, got {doxygen[name]} from Doxygen"
                )
    for header, names in found.items():
        yield f"{header}: on no reference page, but Doxygen found {sorted(names)}"
    for name in bare:
        yield f"{name}: no comment in front of it"


def main(command: str, path: Path) -> int:
    """Prints the filtered header, or the problems; returns 1 if there are any."""
    if command == "filter":
        print("\n".join(filtered(path)))
        return 0
    found = list(problems(path))
    for problem in found:
        print(problem, file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], Path(sys.argv[2])))
