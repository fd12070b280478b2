"""A sentence: from its first word to `.`, `!`, `?` or `…` before white space, to a line break, or to the end.

A simplification of UAX 29 that is the same for every text: an abbreviation such as `Dr.` ends a sentence.
"""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import NEWLINE, CharSet, word_characters
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.matching import is_word_character
from bylaw.spec.spaces import INLINE_SPACE, WHITE_SPACE

TERMINATORS = CharSet.of(".!?\u2026")
FULL_WIDTH_TERMINATORS = CharSet.of("\u3002\uff01\uff1f")
CLOSERS = CharSet.of(")]}\"'\u201d\u2019\u00bb*")


def find(text: str) -> tuple[Extent, ...]:
    found: list[Extent] = []
    start: int | None = None
    ending = False
    for position, character in enumerate(text):
        if start is None:
            start = position if is_word_character(character) else None
            ending = False
        elif character == "\n" or (ending and character in WHITE_SPACE):
            found.append(Extent(start, position))
            start = None
        elif character in FULL_WIDTH_TERMINATORS:
            found.append(Extent(start, position + 1))
            start = None
        else:
            ending = character in TERMINATORS or (ending and character in CLOSERS)
    if start is not None:
        found.append(Extent(start, len(text)))
    return tuple(found)


def machine() -> CountingMachine:
    outside, inside, ending = 0, 1, 2
    return CountingMachine(
        classes=(word_characters(), TERMINATORS, FULL_WIDTH_TERMINATORS, CLOSERS, NEWLINE, INLINE_SPACE),
        step=(
            ((inside, 1), (outside, 0), (outside, 0), (outside, 0), (outside, 0), (outside, 0), (outside, 0)),
            ((inside, 0), (ending, 0), (outside, 0), (inside, 0), (outside, 0), (inside, 0), (inside, 0)),
            ((inside, 0), (ending, 0), (outside, 0), (ending, 0), (outside, 0), (outside, 0), (inside, 0)),
        ),
        final=(0, 0, 0),
    )


UNIT = Unit(
    summary="sentences: they end at . ! ? before white space, at a line break, or with the text",
    find=find,
    machine=machine,
    examples=(
        UnitExample("", 0),
        UnitExample("Hello. It costs 3.50! Why?", 3),
        UnitExample('He said "no." Then left', 2),
        UnitExample("- one\n- two", 2),
        UnitExample("...", 0),
    ),
)
