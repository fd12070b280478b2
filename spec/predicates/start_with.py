"""`start with "text"`: the text begins like this, case matters."""

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher, Phrase, Regex
from bylaw.spec.matching import find_start, node_of, refusal


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    assert matcher is not None
    return find_start(text, matcher)


def language(matcher: Matcher | None) -> Language | None:
    assert matcher is not None
    return Language("prefix", node_of(matcher))


PREDICATE = Predicate(
    summary="the text begins with this text or pattern; upper and lower case differ",
    takes_matchers=True,
    find=find,
    language=language,
    examples=(
        PredicateExample("Hello there", (Phrase("Hello"),), True),
        PredicateExample("hello there", (Phrase("Hello"),), False),
        PredicateExample(" Hello", (Phrase("Hello"),), False),
        PredicateExample("Hi! Hello", (Regex("(Hi|Hey)[!,]"),), True),
        PredicateExample("\ufeffHello", (Phrase("Hello"),), True),
    ),
    refuse=refusal,
)
