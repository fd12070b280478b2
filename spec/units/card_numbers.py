"""A payment card number: 13 to 19 digits, with single spaces or hyphens between groups of them.

The first digits and the length are those of a known issuer (ISO/IEC 7812), and the last digit fits the others (Luhn's
formula, Annex B of the same standard), which one random number in ten would do too.
"""

import re
from functools import cache

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent

RUN = re.compile(r"(?<![\w.])(?>[0-9]+(?:[ \u00a0-][0-9]+)*)(?![\w])")
GROUP = re.compile("[0-9]+")
LONGEST = 19
FIRST_DIGITS = "23456"
DOUBLED = str.maketrans("0123456789", "0246813579")
ISSUERS: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    (4, 4, (13, 16, 19)),
    (51, 55, (16,)),
    (2221, 2720, (16,)),
    (34, 34, (15,)),
    (37, 37, (15,)),
    (300, 305, (14, 16, 17, 18, 19)),
    (36, 36, (14, 15, 16, 17, 18, 19)),
    (38, 39, (14, 16, 17, 18, 19)),
    (6011, 6011, (16, 17, 18, 19)),
    (644, 649, (16, 17, 18, 19)),
    (65, 65, (16, 17, 18, 19)),
    (62, 62, (16, 17, 18, 19)),
    (3528, 3589, (16, 17, 18, 19)),
    (2200, 2204, (16, 17, 18, 19)),
    *((first, first, tuple(range(13, 20))) for first in (5018, 5020, 5038, 5893, 6304, 6759, 6761, 6762, 6763)),
)
"""First digits from, first digits to, lengths."""


def find(text: str) -> tuple[Extent, ...]:
    return tuple(extent for run in RUN.finditer(text) for extent in _in_run(text, run.start(), run.end()))


def _in_run(text: str, start: int, end: int) -> list[Extent]:
    """Other numbers can stand before or behind a card number, so every row of whole groups is looked at.

    Of several that begin at one place the longest is taken.
    """
    groups = [(match.start(), match.end()) for match in GROUP.finditer(text, start, end)]
    found: list[Extent] = []
    for number, (first, _) in enumerate(groups):
        if text[first] not in FIRST_DIGITS or (found and first < found[-1].end):
            continue
        digits, end_of_number = "", 0
        for low, high in groups[number : number + LONGEST]:
            digits += text[low:high]
            if len(digits) > LONGEST:
                break
            if len(digits) in _possible(digits[:4]) and not _luhn(digits) % 10:
                end_of_number = high
        if end_of_number:
            found.append(Extent(first, end_of_number))
    return found


@cache
def _possible(first: str) -> frozenset[int]:
    """The lengths of the numbers that begin with these four digits."""
    return frozenset(length for size in range(1, len(first) + 1) for length in _lengths().get(first[:size], ()))


@cache
def _lengths() -> dict[str, tuple[int, ...]]:
    """The lengths of the numbers that begin with some digits."""
    return {str(prefix): lengths for first, last, lengths in ISSUERS for prefix in range(first, last + 1)}


def _luhn(digits: str) -> int:
    """The sum of the digits, every second one from the right doubled and, above 9, less 9."""
    return sum(map(int, digits[::-2])) + sum(map(int, digits[-2::-2].translate(DOUBLED)))


UNIT = Unit(
    summary="payment card numbers with a right check digit",
    find=find,
    machine=None,
    examples=(
        UnitExample("4111 1111 1111 1111, then 12 3782-822463-10005.", 2),
        UnitExample("4111 1111 1111 1112, 1234567890123456, 411111", 0),
    ),
)
