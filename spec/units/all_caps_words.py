"""A word in capitals: all its letters that have a case are upper case, and there is at least one (`I` counts)."""

from bylaw.spec.cases import cases
from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import word_characters
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.units import words


def find(text: str) -> tuple[Extent, ...]:
    return tuple(extent for extent in words.find(text) if text[extent.start : extent.end].isupper())


def machine() -> CountingMachine:
    """A word is counted when it has ended, since a small letter may still come."""
    table, word = cases(), word_characters()
    upper, small = word.intersection(table.upper), word.intersection(table.lower.union(table.title))
    other = word.difference(upper).difference(small)
    outside = 0
    # Inside a word and after an apostrophe in it: nothing has a case yet, all is upper case, something is not.
    plain, capitals, mixed, plain_mark, capitals_mark, mixed_mark = range(1, 7)
    return CountingMachine(
        classes=(upper, small, other, words.APOSTROPHES),
        step=(
            ((capitals, 0), (mixed, 0), (plain, 0), (outside, 0), (outside, 0)),
            ((capitals, 0), (mixed, 0), (plain, 0), (plain_mark, 0), (outside, 0)),
            ((capitals, 0), (mixed, 0), (capitals, 0), (capitals_mark, 0), (outside, 1)),
            ((mixed, 0), (mixed, 0), (mixed, 0), (mixed_mark, 0), (outside, 0)),
            ((capitals, 0), (mixed, 0), (plain, 0), (outside, 0), (outside, 0)),
            ((capitals, 0), (mixed, 0), (capitals, 0), (outside, 1), (outside, 1)),
            ((mixed, 0), (mixed, 0), (mixed, 0), (outside, 0), (outside, 0)),
        ),
        final=(0, 0, 1, 0, 0, 1, 0),
    )


UNIT = Unit(
    summary="words whose letters are all upper case",
    find=find,
    machine=machine,
    examples=(
        UnitExample("PLEASE read THIS, ok? I do. A4 42", 4),
        UnitExample("quiet words", 0),
    ),
)
