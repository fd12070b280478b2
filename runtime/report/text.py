"""Text from models and files made safe to show, with the places that matter marked.

Model text is hostile input: it may hold terminal escapes, invisible characters and letters that run backwards. Whatever
is shown goes through `visible` first, which writes such characters as escapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bylaw.spec.errors import visible

EXCERPT_CHARACTERS = 1_500
_TAB = "    "


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of an excerpt, marked where it is evidence."""

    text: str
    marked: bool


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A text ready to show. `whole` says that the evidence is the text as a whole, so that nothing in it is marked;
    `left_out` counts the characters of the text that are not shown."""

    pieces: tuple[Piece, ...]
    whole: bool
    left_out: int


def block(text: str) -> str:
    """Text of several lines with everything hidden in it made visible; line breaks stay, tabs become spaces."""
    lines = text.replace("\r\n", "\n").replace("\t", _TAB).split("\n")
    return "\n".join(visible(line) for line in lines)


def one_line(text: str, most: int | None = None) -> str:
    """Text on one line with everything hidden in it made visible, shortened to `most` characters."""
    shown = visible(" ".join(text.split()))
    return shown if most is None or len(shown) <= most else shown[: most - 1].rstrip() + "…"


def excerpt(text: str, spans: Sequence[tuple[int, int]] = (), most: int = EXCERPT_CHARACTERS) -> Excerpt:
    """The part of `text` around the first of `spans` (start, end), at most `most` characters, with the spans marked."""
    marks = _merged(spans, len(text))
    whole = bool(text) and marks == [(0, len(text))]
    if whole:
        marks = []
    start, end = 0, len(text)
    if end > most:
        # a quarter of the room shows what came before, so that a reader sees how it came to the mark
        first = marks[0][0] if marks else 0
        start = max(0, min(first - most // 4, len(text) - most))
        end = start + most
    pieces: list[Piece] = []
    position = start
    for low, high in marks:
        low, high = max(low, start), min(high, end)
        if low >= high:
            continue
        pieces.append(Piece(block(text[position:low]), False))
        pieces.append(Piece(block(text[low:high]), True))
        position = high
    pieces.append(Piece(block(text[position:end]), False))
    return Excerpt(_with_dots(pieces, start > 0, end < len(text)), whole, len(text) - (end - start))


def _merged(spans: Sequence[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """Spans in order, inside the text, without overlap."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted((max(0, low), min(high, length)) for low, high in spans):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _with_dots(pieces: Sequence[Piece], before: bool, after: bool) -> tuple[Piece, ...]:
    dots = Piece("…", False)
    return (*((dots,) if before else ()), *(p for p in pieces if p.text), *((dots,) if after else ()))
