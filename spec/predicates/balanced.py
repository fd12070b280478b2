"""`be balanced`: round, square and curly brackets close in the order in which they opened, and none is left open."""

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher

CLOSING = {")": "(", "]": "[", "}": "{"}


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    return (Extent(0, len(text)),) if _holds(text) else ()


def _holds(text: str) -> bool:
    opened: list[str] = []
    for character in text:
        if character in "([{":
            opened.append(character)
        elif character in CLOSING and (not opened or opened.pop() != CLOSING[character]):
            return False
    return not opened


def language(matcher: Matcher | None) -> Language | None:
    return None


PREDICATE = Predicate(
    summary="every bracket is closed, in the right order",
    takes_matchers=False,
    find=find,
    language=language,
    examples=(
        PredicateExample("f(a[1], {b})", (), True),
        PredicateExample("none", (), True),
        PredicateExample("(a]", (), False),
        PredicateExample(":-)", (), False),
    ),
)
