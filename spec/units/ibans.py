"""An international bank account number: a country, two check digits and the rest, with single spaces or without.

The length is the one of its country (ISO 13616 registry), and the check digits fit (ISO 7064, remainder 1 of 97), which
one random number in 97 would do too.
"""

import re
from functools import cache

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent

START = re.compile(r"(?<![\w])[A-Za-z]{2}[0-9]{2}(?=[ \u00a0]?[0-9A-Za-z])")
_LENGTHS = (
    "15 NO 16 BE 18 DK FI FK FO GL NL SD 19 MK SI 20 AT BA EE KZ LT LU MN XK 21 CH HR LI LV 22 BG BH CR DE GB GE IE ME "
    "RS VA 23 AE GI IL IQ OM SO TL 24 AD CZ ES MD PK RO SA SE SK TN VG 25 LY PT ST 26 IS TR 27 BI DJ FR GR IT MC MR SM "
    "28 AL AZ BY CY DO GT HN HU LB NI PL SV 29 BR EG PS QA UA 30 JO KW MU YE 31 MT SC 32 LC 33 RU"
)


@cache
def _length_of() -> dict[str, int]:
    table: dict[str, int] = {}
    length = 0
    for entry in _LENGTHS.split():
        if entry.isdigit():
            length = int(entry)
        else:
            table[entry] = length
    return table


def find(text: str) -> tuple[Extent, ...]:
    found: list[Extent] = []
    for match in START.finditer(text):
        if found and match.start() < found[-1].end:
            continue
        extent = _number_at(text, match.start())
        if extent:
            found.append(extent)
    return tuple(found)


def _number_at(text: str, start: int) -> Extent | None:
    length = _length_of().get(text[start : start + 2].upper())
    characters, place = "", start
    while length and len(characters) < length and place < len(text):
        character = text[place]
        if character.isascii() and character.isalnum():
            characters += character
        elif character not in " \u00a0" or text[place - 1] in " \u00a0":
            return None
        place += 1
    whole = len(characters) == length and not (place < len(text) and (text[place].isalnum() or text[place] == "_"))
    return Extent(start, place) if whole and _remainder(characters) == 1 else None


def _remainder(characters: str) -> int:
    return int("".join(str(int(character, 36)) for character in characters[4:] + characters[:4])) % 97


UNIT = Unit(
    summary="international bank account numbers with right check digits",
    find=find,
    machine=None,
    examples=(
        UnitExample("Pay to GB82 WEST 1234 5698 7654 32 or DE89370400440532013000.", 2),
        UnitExample("GB82 WEST 1234 5698 7654 33, DE8937040044053201300", 0),
    ),
)
