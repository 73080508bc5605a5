"""The blocks of code in a Markdown file, which tests run."""

import re
from pathlib import Path


def blocks(path: Path, language: str) -> list[str]:
    """Every block of code in that language, in order; there is at least one."""
    found: list[str] = re.findall(
        rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert found, f"{path.name} has no block of {language}"
    return found
