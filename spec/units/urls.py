"""A web address: `http://`, `https://`, `ftp://` or `www.` in either case, then a word character or `[`, up to white
space or one of `< > " `` ` ``.

The start does not stand after a word character. Marks that end a sentence or close a bracket behind the address do not
belong to it. A bare name such as `harbour.example` is none: it cannot be told from a file name.
"""

import re

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import CharSet, word_characters
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.spaces import WHITE_SPACE
from bylaw.spec.units._scan import compiled, inside, word_class

STARTS = ("http://", "https://", "ftp://", "www.")
ENDING = WHITE_SPACE.union(CharSet.of('<>"`'))
TRAILING = ".,;:!?)]}'\u2019\u201d*_"


def find(text: str) -> tuple[Extent, ...]:
    source = rf"(?<![WORD])(?:https?://|ftp://|www\.)[WORD\[][^{inside(ENDING)}]*"
    found = compiled(source, word_class(text), re.IGNORECASE if text.isascii() else re.IGNORECASE | re.ASCII)
    return tuple(
        Extent(match.start(), match.start() + max(len(match[0].rstrip(TRAILING)), 1)) for match in found.finditer(text)
    )


def machine() -> CountingMachine:
    """States: 0 is free, 1 after a word character, 2 inside an address, then one for each beginning of a start."""
    beginnings = sorted({start[:length] for start in STARTS for length in range(1, len(start) + 1)})
    state_of = {"": 0, **{beginning: number for number, beginning in enumerate(beginnings, 3)}}
    letters = sorted(set("".join(STARTS)))
    small = CharSet(()).union(*(CharSet.of({letter, letter.upper()}) for letter in letters))
    words = word_characters()
    bracket = CharSet.of("[")
    classes = (
        *(CharSet.of({letter, letter.upper()}) for letter in letters),
        *(words.difference(small), ENDING, bracket),
    )

    def step(beginning: str, character: str, is_word: bool, is_bracket: bool = False) -> tuple[int, int]:
        if beginning in STARTS and (is_word or is_bracket):
            return 2, 1
        if beginning + character in state_of and character:
            return state_of[beginning + character], 0
        if is_word and (not beginning or not beginning[-1].isalnum()) and character and character in state_of:
            return state_of[character], 0
        return int(is_word), 0

    def row(beginning: str) -> tuple[tuple[int, int], ...]:
        known = (step(beginning, letter, letter.isalpha()) for letter in letters)
        return (*known, step(beginning, "", True), (0, 0), step(beginning, "", False, True), (0, 0))

    joined = (*((int(letter.isalpha()), 0) for letter in letters), (1, 0), (0, 0), (0, 0), (0, 0))
    going_on = (*((2, 0) for _ in letters), (2, 0), (0, 0), (2, 0), (2, 0))
    rows = (row(""), joined, going_on, *map(row, beginnings))
    return CountingMachine(classes, rows, (0,) * len(rows))


UNIT = Unit(
    summary="web addresses that begin with http://, https://, ftp:// or www.",
    find=find,
    machine=machine,
    examples=(
        UnitExample("See https://shop.example/a?b=1, or (www.harbour.example).", 2),
        UnitExample("harbour.example, http:// and file.txt", 0),
    ),
)
