"""`be csv`: comma-separated values (RFC 4180): at least two records, all with the same number of fields, at least two.

Fields with commas, quotation marks or line breaks stand in double quotes, quotation marks in them are doubled. Line
breaks at the ends of the text are left aside."""

import csv
import io

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    return (Extent(0, len(text)),) if _holds(text) else ()


def _holds(text: str) -> bool:
    try:
        rows = list(csv.reader(io.StringIO(text.strip("\r\n"), newline=""), strict=True))
    except csv.Error:
        return False
    return len(rows) > 1 and len(rows[0]) > 1 and {len(row) for row in rows} == {len(rows[0])}


def language(matcher: Matcher | None) -> Language | None:
    return None


PREDICATE = Predicate(
    summary="the text is a table of comma-separated values",
    takes_matchers=False,
    find=find,
    language=language,
    examples=(
        PredicateExample('name,price\nrope,3\n"anchor, small",40\n', (), True),
        PredicateExample("a,b\nc", (), False),
        PredicateExample("a,b", (), False),
        PredicateExample('a,b\n"c,d', (), False),
    ),
)
