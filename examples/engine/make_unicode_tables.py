"""Writes unicode_tables.hpp: what the normaliser and the word splitter of BERT's tokenizers do.

Usage: python make_unicode_tables.py | clang-format > unicode_tables.hpp   (needs tokenizers)
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
HANGUL = {chr(code) for code in range(0xAC00, 0xD7A4)}  # their parts follow a rule
WIDTH = 94  # of a line's text

HEAD = """\
// What BERT's uncased tokenizers make of Unicode's characters, written by make_unicode_tables.py.
//
// Ranges of characters are the first one and the one after the last, each.
#pragma once

namespace engine {
"""


def normaliser(**steps: bool) -> BertNormalizer:
    """A normaliser of just the named steps."""
    names = ["clean_text", "handle_chinese_chars", "strip_accents", "lowercase"]
    return BertNormalizer(**{name: steps.get(name, False) for name in names})


def table(name: str, comment: str, characters: Iterable[str]) -> None:
    """Prints the ranges that characters form."""
    edges: list[int] = []
    for code in map(ord, characters):
        if edges and code == edges[-1]:
            edges[-1] += 1
        else:
            edges += [code, code + 1]
    numbers = ", ".join(f"0x{edge:X}" for edge in edges)
    print(f"\n// {comment}\ninline constexpr char32_t {name}[] = {{{numbers}}};")


def written(text: str) -> str:
    """A text for a string of C++, with escapes but for letters that no editor changes."""
    plain = [unicodedata.normalize("NFC", c) == c and (c.isalpha() or c in ";`") for c in text]
    escapes = [f"\\u{ord(c):04X}" if ord(c) < 0x10000 else f"\\U{ord(c):08X}" for c in text]
    return "".join(c if keep else e for c, keep, e in zip(text, plain, escapes, strict=True))


def lines(words: Iterable[str]) -> Iterable[str]:
    """Words with a blank after each, in lines of a C++ string."""
    line, width = "", 0
    for word in words:
        columns = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in word) + 1
        if width + columns > WIDTH:
            yield line
            line, width = "", 0
        line, width = f"{line}{word} ", width + columns
    yield line


def main() -> None:
    """Prints the header."""
    clean = normaliser(clean_text=True, strip_accents=True).normalize_str
    pad = normaliser(handle_chinese_chars=True).normalize_str
    fold = normaliser(clean_text=True, strip_accents=True, lowercase=True).normalize_str
    split = BertPreTokenizer().pre_tokenize_str

    spaces = [c for c in CHARACTERS if clean(c) == " "]
    dropped = [c for c in CHARACTERS if clean(c) == ""]
    print(HEAD, end="")
    table("kSpaces", "Blanks.", spaces)
    table("kDropped", "Controls, and marks above and below.", dropped)
    alone = [c for c in CHARACTERS if len(split(f"a{c}b")) == 3 or pad(c) != c]
    table("kAlone", "Punctuation marks and ideographs: words by themselves.", alone)
    others = HANGUL.union(spaces, dropped)
    folds = [c + fold(c) for c in CHARACTERS if c not in others and fold(c) != c]
    text = "\n".join(f'    "{line}"' for line in lines(map(written, folds)))
    print("\n// A character, then its lower case without marks.")
    print(f"inline constexpr char kFolds[] =\n{text};")
    print("\n}  // namespace engine")


if __name__ == "__main__":
    main()
