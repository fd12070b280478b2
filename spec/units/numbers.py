"""A number written in digits 0 to 9 that stands alone as a word.

Single dots and commas between digits belong to it (`3.5`, `1,000`), signs, currencies and percent signs around it do
not; `A4` and `4th` are words, `2024-05-01` is three numbers.
"""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import ASCII_DIGIT, CharSet, word_characters
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.units._scan import compiled, extents_of, word_class


def find(text: str) -> tuple[Extent, ...]:
    return extents_of(compiled("(?<![WORD])(?>[0-9]+(?:[.,][0-9]+)*)(?![WORD])", word_class(text)), text)


def machine() -> CountingMachine:
    """A number is counted when it has ended, since a letter may still make a word of it."""
    free, word, digits, mark = range(4)
    return CountingMachine(
        classes=(ASCII_DIGIT, word_characters().difference(ASCII_DIGIT), CharSet.of(".,")),
        step=(
            ((digits, 0), (word, 0), (free, 0), (free, 0)),
            ((word, 0), (word, 0), (free, 0), (free, 0)),
            ((digits, 0), (word, 0), (mark, 0), (free, 1)),
            ((digits, 0), (word, 1), (free, 1), (free, 1)),
        ),
        final=(0, 0, 1, 1),
    )


UNIT = Unit(
    summary="numbers written in digits, such as 7, 3.5 and 1,000",
    find=find,
    machine=machine,
    examples=(UnitExample("7 boats, 3.5 tons, 1,000 crates, 50%.", 4), UnitExample("A4, 4th, seven", 0)),
)
