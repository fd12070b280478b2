"""`be numeric`: a number in digits 0 to 9, perhaps with a sign, a decimal point or an exponent.

White space around it is allowed, commas are not.
"""

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher
from bylaw.spec.pattern import compile_pattern, parse_pattern

NUMBER = r"\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\s*"


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    return (Extent(0, len(text)),) if _holds(text) else ()


def _holds(text: str) -> bool:
    return compile_pattern(NUMBER).fullmatch(text) is not None


def language(matcher: Matcher | None) -> Language | None:
    return Language("full", parse_pattern(NUMBER))


PREDICATE = Predicate(
    summary="the whole text is one number, such as -3.5",
    takes_matchers=False,
    find=find,
    language=language,
    examples=(
        PredicateExample("42", (), True),
        PredicateExample(" -3.5e2\n", (), True),
        PredicateExample("1,000", (), False),
        PredicateExample("", (), False),
        PredicateExample("4 2", (), False),
    ),
)
