"""`be sorted_lines`: the lines with something on them stand in alphabetical order, whatever their case.

What marks an item (`-`, `*`, `1.`) and white space at the ends are left aside; equal lines may follow each other.
Letters compare by their number in Unicode, without regard to case and accents.
"""

import re
import unicodedata
from itertools import pairwise

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher
from bylaw.spec.units import lines

MARK = re.compile(r"^\s*(?:[-*+\u2022]|[0-9]+[.)])\s")


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    return (Extent(0, len(text)),) if _holds(text) else ()


def _holds(text: str) -> bool:
    keys = [_key(text[extent.start : extent.end]) for extent in lines.find(text)]
    return all(first <= second for first, second in pairwise(keys))


def _key(line: str) -> str:
    plain = unicodedata.normalize("NFD", MARK.sub("", line, count=1).strip().casefold())
    return "".join(character for character in plain if not unicodedata.combining(character))


def language(matcher: Matcher | None) -> Language | None:
    return None


PREDICATE = Predicate(
    summary="the lines stand in alphabetical order",
    takes_matchers=False,
    find=find,
    language=language,
    examples=(
        PredicateExample("- Anchor\n- boat\n- \u00c9clair\n- fish", (), True),
        PredicateExample("boat\nanchor", (), False),
        PredicateExample("", (), True),
    ),
)
