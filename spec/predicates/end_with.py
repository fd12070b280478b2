"""`end with "text"`: the text ends like this, case matters."""

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher, Phrase, Regex
from bylaw.spec.matching import find_end, node_of, refusal


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    assert matcher is not None
    return find_end(text, matcher)


def language(matcher: Matcher | None) -> Language | None:
    assert matcher is not None
    return Language("suffix", node_of(matcher))


PREDICATE = Predicate(
    summary="the text ends with this text or pattern; upper and lower case differ",
    takes_matchers=True,
    find=find,
    language=language,
    examples=(
        PredicateExample("Can I help?", (Phrase("?"),), True),
        PredicateExample("Can I help? ", (Phrase("?"),), False),
        PredicateExample("total: 12", (Regex("[0-9]+"),), True),
        PredicateExample("12 in total", (Regex("[0-9]+"),), False),
        PredicateExample("and so on\u2026", (Phrase("..."),), True),
    ),
    refuse=refusal,
)
