"""A US social security number: three, two and four digits with hyphens or single spaces between them.

Numbers that are never given out are none: areas 000, 666 and 900 to 999, group 00, serial 0000 (Social Security
Administration, randomisation of 2011), and two numbers that were printed in advertisements. Nine digits without
separators are not counted, because too much else has nine digits.
"""

import re

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent

NUMBER = re.compile(r"(?<![\w-])([0-9]{3})([- ])([0-9]{2})\2([0-9]{4})(?![\w]|-[0-9])")
ADVERTISED = ("078051120", "219099999")


def find(text: str) -> tuple[Extent, ...]:
    return tuple(Extent(match.start(), match.end()) for match in NUMBER.finditer(text) if _given_out(match))


def _given_out(match: re.Match[str]) -> bool:
    area, _, group, serial = match.groups()
    return (
        area not in ("000", "666")
        and area < "900"
        and group != "00"
        and serial != "0000"
        and area + group + serial not in ADVERTISED
    )


UNIT = Unit(
    summary="social security numbers of the US, with separators",
    find=find,
    machine=None,
    examples=(
        UnitExample("SSN 531-21-7351 or 531 21 7352.", 2),
        UnitExample("000-12-3456, 666-12-3456, 912-12-3456, 123-00-4567, 078-05-1120, 531-21 7351", 0),
    ),
)
