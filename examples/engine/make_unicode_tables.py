"""Writes unicode_tables.hpp: what the normaliser and the word splitter of BERT's tokenizers do.

Usage: python make_unicode_tables.py > unicode_tables.hpp   (needs the package tokenizers)
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
HANGUL = range(0xAC00, 0xD7A4)  # their parts follow a rule
COMPATIBILITY = [range(0xF900, 0xFA6E), range(0xFA70, 0xFADA), range(0x2F800, 0x2FA1E)]
READABLE = ("LATIN", "GREEK", "CYRILLIC", "HIRAGANA", "KATAKANA")
WIDTH = 94  # of a line's text

HEAD = """\
// What BERT's uncased tokenizers make of Unicode's characters, written by make_unicode_tables.py.
//
// Items are "first-last" in hexadecimal, where first alone will do for one character; "/2" means
// every second one, ":target" what they become: the first one this, the next one the next.
#pragma once

namespace engine {
"""


def normaliser(**steps: bool) -> BertNormalizer:
    """A normaliser of just the named steps."""
    names = ["clean_text", "handle_chinese_chars", "strip_accents", "lowercase"]
    return BertNormalizer(**{name: steps.get(name, False) for name in names})


def items(characters: Iterable[str]) -> Iterator[str]:
    """Characters as ranges."""
    runs: list[list[int]] = []
    for code in map(ord, characters):
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    for first, last in runs:
        yield f"{first:X}-{last:X}" if last > first else f"{first:X}"


def mapped(changes: dict[str, str]) -> Iterator[str]:
    """Changed characters as ranges with targets, of every character or of every second one."""
    codes = {ord(old): [ord(part) for part in new] for old, new in changes.items()}
    while codes:
        first = min(codes)
        target = codes[first]
        best = (1, 1)
        for step in (1, 2):
            count = 1
            while codes.get(first + count * step) == [target[0] + count * step] != target[1:]:
                count += 1
            best = max(best, (count, step), key=lambda found: found[0])
        count, step = best if len(target) == 1 else (1, 1)
        last = first + (count - 1) * step
        for code in range(first, last + 1, step):
            del codes[code]
        span = f"-{last:X}" if count > 1 else ""
        yield f"{first:X}{span}{'/2' if step == 2 else ''}:" + ",".join(f"{c:X}" for c in target)


def lines(words: Iterable[str]) -> Iterator[str]:
    """Words with a blank after each, in lines of a C++ string."""
    line, width = "", 0
    for word in words:
        columns = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in word)
        if width + columns > WIDTH:
            yield line
            line, width = "", 0
        line, width = line + word, width + columns
    yield line


def table(name: str, comment: str, words: Iterable[str]) -> None:
    """Prints one table."""
    text = "\n".join(f'    "{line}"' for line in lines(words))
    print(f"\n// {comment}\ninline constexpr char {name}[] =\n{text};")


def main() -> None:
    """Prints the header."""
    clean = normaliser(clean_text=True, strip_accents=True).normalize_str
    lower = normaliser(lowercase=True).normalize_str
    pad = normaliser(handle_chinese_chars=True).normalize_str
    strip = normaliser(strip_accents=True).normalize_str
    split = BertPreTokenizer().pre_tokenize_str

    lowered = {c: lower(c) for c in CHARACTERS if lower(c) != c}
    lowered = {old: strip(new) if len(new) > 1 else new for old, new in lowered.items()}
    skipped = {c for codes in (HANGUL, *COMPATIBILITY) for c in map(chr, codes)} | set(lowered)
    bare = {c: strip(c) for c in CHARACTERS if c not in skipped and strip(c) not in (c, "")}
    groups: dict[str, str] = {}
    for old, new in bare.items():
        stays = unicodedata.normalize("NFC", old) == old  # whatever an editor makes of the file
        if stays and len(new) == 1 and unicodedata.name(old, "").startswith(READABLE):
            groups[new] = groups.get(new, new) + old
    grouped = set("".join(groups.values()))
    rest = {old: new for old, new in bare.items() if old not in grouped}

    print(HEAD, end="")
    dropped = [c for c in CHARACTERS if clean(c) == ""]
    spaces = [c for c in CHARACTERS if clean(c) == " "]
    table("kSpaces", "Blanks.", (f"{i} " for i in items(spaces)))
    table("kDropped", "Controls, and marks above and below.", (f"{i} " for i in items(dropped)))
    marks = [c for c in CHARACTERS if len(split(f"a{c}b")) == 3]
    table("kPunctuation", "Words by themselves.", (f"{i} " for i in items(marks)))
    padded = [c for c in CHARACTERS if pad(c) != c]
    table("kIdeographs", "Words by themselves too.", (f"{i} " for i in items(padded)))
    table("kLower", "The lower case.", (f"{i} " for i in mapped(lowered)))
    table("kBare", "Letters without their marks.", (f"{i} " for i in mapped(rest)))
    table(
        "kAccents",
        "The same: a letter, then those it stands for.",
        (g + " " for g in groups.values()),
    )
    for codes in COMPATIBILITY:
        name = f"kCompatibility{codes.start:X}"
        table(
            name,
            f"What U+{codes.start:X} and those after it stand for.",
            (strip(chr(c)) for c in codes),
        )
    print("\n}  // namespace engine")


if __name__ == "__main__":
    main()
