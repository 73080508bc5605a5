"""MkDocs calls these functions: they add to the site what is written elsewhere in the repository.

The references of C++ and C come from the headers, the figures from README.md, and what these link
to from benchmarks/results. Nothing is copied into docs/.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))  # MkDocs loads this file by its path

import cpp_reference  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
SPEED = "<!-- the README's section on speed -->"


def results() -> list[Path]:
    """The files of figures that git would track, in order."""
    kept = (".json", ".md", ".svg")
    return sorted(path for path in RESULTS.rglob("*") if path.suffix in kept)


def index_of_results() -> str:
    """A page with a link to each file of figures."""
    lines = ["# Measured figures, whole", ""]
    for path in results():
        name = path.relative_to(RESULTS).as_posix()
        lines.append(f"- [{name}]({name})")
    return "\n".join(lines) + "\n"


def speed() -> str:
    """The README's section on speed, with its links. ValueError where there is none."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    _, found, rest = text.partition("\n## Speed\n")
    if not found:
        raise ValueError(
            "README.md: expected a section '## Speed', which docs/performance.md shows"
        )
    return rest.partition("\n## ")[0].replace(
        "](benchmarks/results)", "](benchmarks/results/index.md)"
    )


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages and files that are not under docs/."""
    from mkdocs.structure.files import File

    pages = {
        "reference/cpp.md": cpp_reference.page("cpp"),
        "reference/c.md": cpp_reference.page("c"),
        "benchmarks/results/index.md": index_of_results(),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    for path in results():
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Puts the README's figures where a page asks for them."""
    return markdown.replace(SPEED, speed()) if SPEED in markdown else markdown
