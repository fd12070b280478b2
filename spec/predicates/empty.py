"""`be empty`: nothing but white space."""

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher
from bylaw.spec.pattern import Chars, Repeat
from bylaw.spec.spaces import WHITE_SPACE


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    return (Extent(0, len(text)),) if all(character in WHITE_SPACE for character in text) else ()


def language(matcher: Matcher | None) -> Language | None:
    return Language("full", Repeat(Chars(WHITE_SPACE), 0, None))


PREDICATE = Predicate(
    summary="the text has no character that is not white space",
    takes_matchers=False,
    find=find,
    language=language,
    examples=(
        PredicateExample("", (), True),
        PredicateExample(" \n\t", (), True),
        PredicateExample(" . ", (), False),
    ),
)
