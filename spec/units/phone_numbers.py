"""A telephone number as people write it, perhaps with an extension.

* With `+` or `00` before it: of a country that exists and with a number of digits that is possible there, as the
  library `phonenumbers` (Google's libphonenumber) has it.
* Otherwise: 7 to 12 digits in groups, with spaces, dots, hyphens or brackets between; that is no date, no number with
  thousands or decimals, no IP address, no US social security number, and no row of single digits or of long ones.
* Digits in one piece only when a word such as `call`, `phone` or `mobile` stands shortly before them.

Which national numbers are given out depends on the country, which a text does not tell; so they are taken by their
form. Digits of another meaning in the same form count too.
"""

import re
from functools import cache
from typing import Any

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent
from bylaw.spec.units import dates, ip_addresses, social_security_numbers

NUMBER = re.compile(
    r"(?<![\w@#$\u20ac\u00a3/.=:+-])(?<![\w][,'])(?P<main>\+?(?>\(?\+?[0-9]+\)?(?:(?:[ \u00a0.\-/]\(?|\()?[0-9]+\)?)*))"
    r"(?: ?(?:x|ext\.?|extension) ?[0-9]{1,6})?(?![\w@%\u20ac]|[,:/=][0-9])",
    re.IGNORECASE,
)
CUE = re.compile(r"\b(?:call|phone|tel|telephone|mobile|cell|fax|whatsapp|text|sms|ring|dial|reach|contact)\b", re.I)
CUE_DISTANCE = 30
FEWEST, MOST = 7, 12
REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "PL", "NL", "CH", "SE", "IN", "AU", "BR")


def find(text: str) -> tuple[Extent, ...]:
    found = tuple(
        Extent(match.start(), match.end())
        for match in NUMBER.finditer(text)
        if _is_phone(match["main"], text[max(match.start() - CUE_DISTANCE, 0) : match.start()])
    )
    if not found:
        return ()
    others = [*dates.find(text), *social_security_numbers.find(text), *ip_addresses.find(text)]
    taken = {place for other in others for place in range(other.start, other.end)}
    return tuple(extent for extent in found if taken.isdisjoint(range(extent.start, extent.end)))


def _is_phone(written: str, before: str) -> bool:
    digits = "".join(filter(str.isdigit, written))
    if written.count("(") != written.count(")"):
        return False
    if "+" in written or digits.startswith("00"):
        return written.rfind("+") <= 1 and _is_possible("+" + digits.removeprefix("00"))
    return FEWEST <= len(digits) <= MOST and (
        _has_form(written) or (CUE.search(before) is not None and "/" not in written)
    )


def _has_form(written: str) -> bool:
    """Whether digits that a plus does not announce are grouped as those of a telephone number."""
    groups = re.findall("[0-9]+", written)
    lengths = [len(group) for group in groups]
    if len(groups) == 1 or lengths.count(1) > 1 or lengths[-1] < 2 or max(lengths) > 8:
        return False
    if "(" in written:
        return True
    if "/" in written:
        return written.startswith("0")
    if len(groups) == 2 and "." in written:
        return False
    thousands = lengths[0] <= 3 and set(lengths[1:]) == {3} and not written.startswith("0") and "-" not in written
    years = lengths == [4, 4] and all("1000" <= group <= "2100" for group in groups)
    return not thousands and not years and ("-" in written or "." in written or _is_given_out(written))


def _is_possible(digits: str) -> bool:
    library = _library()
    try:
        return bool(library.is_possible_number(library.parse(digits, None)))
    except library.NumberParseException:
        return False


def _is_given_out(written: str) -> bool:
    """Whether groups with spaces only, which lists of numbers have too, are a valid number somewhere."""
    library = _library()
    for region in REGIONS:
        try:
            if library.is_valid_number(library.parse(written, region)):
                return True
        except library.NumberParseException:
            return False
    return False


@cache
def _library() -> Any:
    import phonenumbers

    return phonenumbers


UNIT = Unit(
    summary="telephone numbers, international or grouped as people write them",
    find=find,
    machine=None,
    examples=(
        UnitExample("+44 20 7946 0958, (212) 555-0142 ext. 7, 0151 23456789, 555-0142", 4),
        UnitExample("Call 2125550142.", 1),
        UnitExample("Order 2125550142, 2019-2024, 1 000 000, 3.141.592, 12.5.2024, 531-21-7351, +999 12", 0),
    ),
)
