"""`be framed`: the first word of the text is its last word too, in any case. One word is enough, none is not."""

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher
from bylaw.spec.matching import folded
from bylaw.spec.units import words


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    return (Extent(0, len(text)),) if _holds(text) else ()


def _holds(text: str) -> bool:
    found = words.find(folded(text))
    plain = folded(text)
    return bool(found) and plain[found[0].start : found[0].end] == plain[found[-1].start : found[-1].end]


def language(matcher: Matcher | None) -> Language | None:
    return None


PREDICATE = Predicate(
    summary="the text begins and ends with the same word",
    takes_matchers=False,
    find=find,
    language=language,
    examples=(
        PredicateExample("Time flies, I need time.", (), True),
        PredicateExample("Time flies.", (), False),
        PredicateExample("", (), False),
    ),
)
