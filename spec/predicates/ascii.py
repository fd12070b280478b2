"""`be ascii`: only characters of ASCII, also when there are none."""

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.charset import CharSet
from bylaw.spec.expression import Extent, Matcher
from bylaw.spec.pattern import Chars, Repeat


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    return (Extent(0, len(text)),) if _holds(text) else ()


def _holds(text: str) -> bool:
    return text.isascii()


def language(matcher: Matcher | None) -> Language | None:
    return Language("full", Repeat(Chars(CharSet.of_ranges([(0, 0x7F)])), 0, None))


PREDICATE = Predicate(
    summary="all characters are ASCII",
    takes_matchers=False,
    find=find,
    language=language,
    examples=(
        PredicateExample("plain ~", (), True),
        PredicateExample("", (), True),
        PredicateExample("caf\u00e9", (), False),
    ),
)
