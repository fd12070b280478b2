"""A payment card number: 13 to 19 digits, with single spaces or hyphens between groups of them.

The first digits and the length are those of a known issuer (ISO/IEC 7812), and the last digit fits the others (Luhn's
formula, Annex B of the same standard), which one random number in ten would do too.
"""

import re

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent

RUN = re.compile(r"(?<![\w.])(?>[0-9]+(?:[ \u00a0-][0-9]+)*)(?![\w])")
GROUP = re.compile("[0-9]+")
SHORTEST, LONGEST = 13, 19
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
    """Other numbers can stand before or behind a card number, so every row of whole groups is looked at."""
    groups = [(match.start(), match.end()) for match in GROUP.finditer(text, start, end)]
    found: list[Extent] = []
    for number, (first, _) in enumerate(groups):
        if found and first < found[-1].end:
            continue
        digits = ""
        for low, high in groups[number:]:
            digits += text[low:high]
            if len(digits) > LONGEST:
                break
            if len(digits) >= SHORTEST and is_card_number(digits):
                found.append(Extent(first, high))
                break
    return found


def is_card_number(digits: str) -> bool:
    """Whether digits begin and end like a card number."""
    known = any(
        first <= int(digits[: len(str(first))]) <= last and len(digits) in lengths for first, last, lengths in ISSUERS
    )
    return known and _luhn(digits) % 10 == 0


def _luhn(digits: str) -> int:
    doubled = (int(digit) * 2 for digit in digits[-2::-2])
    return sum(map(int, digits[::-2])) + sum(number - 9 if number > 9 else number for number in doubled)


UNIT = Unit(
    summary="payment card numbers with a right check digit",
    find=find,
    machine=None,
    examples=(
        UnitExample("4111 1111 1111 1111, then 12 3782-822463-10005.", 2),
        UnitExample("4111 1111 1111 1112, 1234567890123456, 411111", 0),
    ),
)
