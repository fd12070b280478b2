"""Sentences by the mark that they end with."""

from __future__ import annotations

from bylaw.spec.expression import Extent
from bylaw.spec.units import sentences

_BEHIND_A_MARK = ")]}\"'\u201d\u2019\u00bb* \t\r"


def ending_with(text: str, marks: str) -> tuple[Extent, ...]:
    """The sentences whose last character, but for closing quotes and brackets, is one of `marks`."""
    found = ((extent, text[extent.start : extent.end].rstrip(_BEHIND_A_MARK)) for extent in sentences.find(text))
    return tuple(extent for extent, sentence in found if sentence[-1:] and sentence[-1] in marks)
