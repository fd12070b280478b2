"""`match /pattern/`, `be in [...]`: the whole text is exactly this."""

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher, Phrase, Regex
from bylaw.spec.matching import is_whole, node_of, refusal


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    assert matcher is not None
    return (Extent(0, len(text)),) if is_whole(text, matcher) else ()


def language(matcher: Matcher | None) -> Language | None:
    assert matcher is not None
    return Language("full", node_of(matcher))


PREDICATE = Predicate(
    summary="the whole text is this text, or is matched by this pattern from its first to its last character",
    takes_matchers=True,
    find=find,
    language=language,
    examples=(
        PredicateExample("yes", (Phrase("yes"),), True),
        PredicateExample("yes.", (Phrase("yes"),), False),
        PredicateExample("AB-12", (Regex("[A-Z]+-[0-9]+"),), True),
        PredicateExample("AB-12 ", (Regex("[A-Z]+-[0-9]+"),), False),
        PredicateExample("\uff59\uff45\uff53", (Phrase("yes"),), True),
    ),
    refuse=refusal,
)
