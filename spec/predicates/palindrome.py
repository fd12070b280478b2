"""`be palindrome`: the letters and digits of the whole text, in one case, read the same from the end; at least two."""

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher
from bylaw.spec.matching import folded


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    return (Extent(0, len(text)),) if _holds(text) else ()


def _holds(text: str) -> bool:
    letters = [character for character in folded(text) if character.isalnum()]
    return len(letters) > 1 and letters == letters[::-1]


def language(matcher: Matcher | None) -> Language | None:
    return None


PREDICATE = Predicate(
    summary="the letters and digits of the text read the same from its end",
    takes_matchers=False,
    find=find,
    language=language,
    examples=(
        PredicateExample("Never odd or even.", (), True),
        PredicateExample("Anna", (), True),
        PredicateExample("a", (), False),
        PredicateExample("boat", (), False),
    ),
)
