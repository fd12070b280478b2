"""A word in capitals: all its letters that have a case are upper case, and there is at least one (`I` counts)."""

from functools import cache

from bylaw.spec.cases import cases
from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.segments_words import segmenter
from bylaw.spec.units import words


def find(text: str) -> tuple[Extent, ...]:
    return tuple(extent for extent in words.find(text) if text[extent.start : extent.end].isupper())


@cache
def machine() -> CountingMachine:
    table = cases()
    return segmenter().machine(made_by=table.upper, spoilt_by=table.lower.union(table.title))


UNIT = Unit(
    summary="words whose letters are all upper case",
    find=find,
    machine=machine,
    examples=(
        UnitExample("PLEASE read THIS, ok? I do. A4 42 3.5M", 5),
        UnitExample("quiet words", 0),
    ),
)
