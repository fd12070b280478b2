"""`be json`: the whole text is one JSON value (RFC 8259), white space around it allowed."""

import json

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return ()
    return (Extent(0, len(text)),)


def _refuse(name: str) -> None:
    # Python's reader takes NaN and Infinity, which are not JSON.
    raise ValueError(name)


def language(matcher: Matcher | None) -> Language | None:
    return None


PREDICATE = Predicate(
    summary="the whole text is one JSON value",
    takes_matchers=False,
    find=find,
    language=language,
    examples=(
        PredicateExample('{"a": [1, 2]}', (), True),
        PredicateExample("  true\n", (), True),
        PredicateExample("{'a': 1}", (), False),
        PredicateExample("NaN", (), False),
        PredicateExample("", (), False),
    ),
)
