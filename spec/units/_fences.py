"""Fenced code in Markdown, as CommonMark 0.31 (section 4.5) has it, apart from lists and quotes around it."""

from __future__ import annotations

import re
from dataclasses import dataclass

FENCE = re.compile("^ {0,3}(`{3,}(?=[^`\n]*$)|~{3,})([^\n]*)(?:\n|\\Z)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Fenced:
    """A block: where it begins and ends, what it is called (its info string), where the code in it begins and ends."""

    start: int
    end: int
    info: str
    code_start: int
    code_end: int


def fenced_blocks(text: str) -> tuple[Fenced, ...]:
    """All blocks; one that is not closed goes on to the end of the text."""
    found: list[Fenced] = []
    opening: re.Match[str] | None = None
    for match in FENCE.finditer(text):
        if opening is None:
            opening = match
        elif match[1].startswith(opening[1]) and not match[2].strip():
            found.append(_block(opening, match.start(), match.end(2)))
            opening = None
    if opening is not None:
        found.append(_block(opening, len(text), len(text)))
    return tuple(found)


def _block(opening: re.Match[str], code_end: int, end: int) -> Fenced:
    return Fenced(opening.start(1), end, opening[2].strip(), min(opening.end(), code_end), code_end)
