"""`be uppercase`: at least one upper case letter and no lower or title case one, as Python's `str.isupper`."""

from bylaw.spec.cases import cases
from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher
from bylaw.spec.pattern import Chars, Concat, Repeat


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    return (Extent(0, len(text)),) if text.isupper() else ()


def language(matcher: Matcher | None) -> Language | None:
    table = cases()
    rest = Repeat(Chars(table.lower.union(table.title).complement()), 0, None)
    return Language("full", Concat((rest, Chars(table.upper), rest)))


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
