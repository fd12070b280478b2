"""`be uppercase`: at least one upper case letter and no lower or title case one, as Python's `str.isupper`."""

from functools import cache

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.charset import ALL, CharSet
from bylaw.spec.expression import Extent, Matcher
from bylaw.spec.pattern import Chars, Concat, Repeat


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    return (Extent(0, len(text)),) if text.isupper() else ()


@cache
def _classes() -> tuple[CharSet, CharSet]:
    """The upper case letters, and the letters of another case. A character alone tells which it is."""
    letters = [chr(point) for low, high in ALL.ranges for point in range(low, high + 1) if chr(point).lower() != chr(point).upper() or chr(point).isupper() or chr(point).islower()]
    mine = CharSet.of(letter for letter in letters if letter.isupper())
    others = CharSet.of(letter for letter in letters if letter.islower() or letter.istitle())
    return mine, others.difference(mine)


def language(matcher: Matcher | None) -> Language | None:
    mine, others = _classes()
    rest = Repeat(Chars(others.complement()), 0, None)
    return Language("full", Concat((rest, Chars(mine), rest)))


PREDICATE = Predicate(
    summary="all letters that have a case are upper case, and there is at least one",
    takes_matchers=False,
    find=find,
    language=language,
    examples=(
        PredicateExample("READ THIS, 2 TIMES", (), True),
        PredicateExample("Read this", (), False),
        PredicateExample("42", (), False),
    ),
)
