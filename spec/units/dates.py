"""A date with its year: `2024-05-31`, `31.5.2024`, `5/31/2024`, `31 May 2024`, `May 31st, 2024`.

A numeric date may have its day or its month first; the day has to exist in that month. Month names are English, whole
or the first three letters. A year has four digits.
"""

import datetime as dt
import re
from functools import cache

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent

_MONTHS = "january february march april may june july august september october november december"


@cache
def _pattern() -> re.Pattern[str]:
    month = "|".join(f"{name}|{name[:3]}" for name in _MONTHS.split()) + "|sept"
    day, year = "[0-9]{1,2}", "[0-9]{4}"
    return re.compile(
        rf"(?<![\w./-])(?:(?P<y1>{year})(?P<s1>[-/.])(?P<m1>{day})(?P=s1)(?P<d1>{day})"
        rf"|(?P<d2>{day})(?P<s2>[-/.])(?P<m2>{day})(?P=s2)(?P<y2>{year})"
        rf"|(?P<d3>{day})(?:st|nd|rd|th)? (?:of )?(?P<m3>{month})\.?,? (?P<y3>{year})"
        rf"|(?P<m4>{month})\.? (?P<d4>{day})(?:st|nd|rd|th)?,? (?P<y4>{year}))(?![0-9]|[-/.][0-9])",
        re.IGNORECASE | re.ASCII,
    )


def find(text: str) -> tuple[Extent, ...]:
    return tuple(Extent(match.start(), match.end()) for match in _pattern().finditer(text) if _exists(match))


def _exists(match: re.Match[str]) -> bool:
    form = next(number for number in "1234" if match["y" + number])
    year, month, day = match["y" + form], match["m" + form], int(match["d" + form])
    if not month.isdigit():
        return _is_day(int(year), _month(month), day)
    return _is_day(int(year), int(month), day) or (form == "2" and _is_day(int(year), day, int(month)))


def _month(name: str) -> int:
    return next(number for number, month in enumerate(_MONTHS.split(), 1) if month.startswith(name[:3].lower()))


def _is_day(year: int, month: int, day: int) -> bool:
    try:
        dt.date(year, month, day)
    except ValueError:
        return False
    return True


UNIT = Unit(
    summary="dates with a year, such as 2024-05-31, 31.5.2024 and May 31, 2024",
    find=find,
    machine=None,
    examples=(
        UnitExample("2024-05-31, 31.5.2024, 5/31/2024, 31 May 2024, May 31st, 2024.", 5),
        UnitExample("2024-13-40, 31.11.2024, May 2024, 1/2, 10.0.0.2024.1", 0),
    ),
)
