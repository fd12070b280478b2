"""`be lowercase`: at least one lower case letter and no upper or title case one, as Python's `str.islower`."""

from bylaw.spec.cases import cases
from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher
from bylaw.spec.pattern import Chars, Concat, Repeat


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    return (Extent(0, len(text)),) if text.islower() else ()


def language(matcher: Matcher | None) -> Language | None:
    table = cases()
    rest = Repeat(Chars(table.upper.union(table.title).complement()), 0, None)
    return Language("full", Concat((rest, Chars(table.lower), rest)))


PREDICATE = Predicate(
    summary="all letters that have a case are lower case, and there is at least one",
    takes_matchers=False,
    find=find,
    language=language,
    examples=(
        PredicateExample("read this, 2 times", (), True),
        PredicateExample("Read this", (), False),
        PredicateExample("42", (), False),
    ),
)
