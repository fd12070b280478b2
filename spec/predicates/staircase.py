"""`be staircase`: each line with something on it is indented more than the one before; at least two lines."""

from itertools import pairwise

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher
from bylaw.spec.units import lines


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    return (Extent(0, len(text)),) if _holds(text) else ()


def _holds(text: str) -> bool:
    found = [text[extent.start : extent.end] for extent in lines.find(text)]
    depths = [len(line) - len(line.lstrip()) for line in found]
    return len(depths) > 1 and all(upper < lower for upper, lower in pairwise(depths))


def language(matcher: Matcher | None) -> Language | None:
    return None


PREDICATE = Predicate(
    summary="each line is indented more than the one before",
    takes_matchers=False,
    find=find,
    language=language,
    examples=(
        PredicateExample("a\n b\n   c", (), True),
        PredicateExample("a\nb", (), False),
        PredicateExample("a", (), False),
    ),
)
