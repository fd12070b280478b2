"""A sentence: a sentence segment of UAX #29 with a letter or a digit in it.

It ends at `.`, `!`, `?` and their like, with the closing marks and white space behind them, and at a line break. A full
stop does not end it before a small letter or a digit (`e.g. this`, `3.50`); it does after an abbreviation that a
capital follows (`Dr. Ode`): telling that apart needs a dictionary.
"""

from functools import cache

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.segments_sentences import segmenter
from bylaw.spec.spaces import WHITE_SPACE

_BLANK = "".join(WHITE_SPACE)


def find(text: str) -> tuple[Extent, ...]:
    """The sentences, without the white space that stands before and after each."""
    return tuple(_stripped(text, extent) for extent in segmenter().find(text))


def _stripped(text: str, extent: Extent) -> Extent:
    whole = text[extent.start : extent.end]
    core = whole.lstrip(_BLANK)
    start = extent.start + len(whole) - len(core)
    return Extent(start, start + len(core.rstrip(_BLANK)))


@cache
def machine() -> CountingMachine:
    return segmenter().machine()


UNIT = Unit(
    summary="sentences, as Unicode divides them: they end at . ! ? and at line breaks, not in `3.50` or `e.g. this`",
    find=find,
    machine=machine,
    examples=(
        UnitExample("", 0),
        UnitExample("Hello. It costs 3.50! Why?", 3),
        UnitExample('He said "no." Then left', 2),
        UnitExample("Bring a bag, e.g. this one. Thanks", 2),
        UnitExample("Dr. Ode is in", 2),
        UnitExample("- one\n- two", 2),
        UnitExample("\u4f60\u597d\u3002\u518d\u89c1", 2),
        UnitExample("...", 0),
    ),
)
