"""`mention "words"`: as whole words, in any case. A regular expression in a lexicon is searched for as it is."""

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher, Phrase, Regex
from bylaw.spec.matching import find_all, find_words, refusal, words_node


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    assert matcher is not None
    return find_words(text, matcher) if isinstance(matcher, Phrase) else find_all(text, matcher)


def language(matcher: Matcher | None) -> Language | None:
    assert matcher is not None
    return Language("search", words_node(matcher))


PREDICATE = Predicate(
    summary="the words occur as whole words, in upper or lower case",
    takes_matchers=True,
    find=find,
    language=language,
    examples=(
        PredicateExample("A refund? Refunds take days.", (Phrase("refund"),), True),
        PredicateExample("Refunds take days.", (Phrase("refund"),), False),
        PredicateExample("REFUND!", (Phrase("refund"),), True),
        PredicateExample("Straße", (Phrase("straße"),), True),
        PredicateExample("It might be late", (Regex("it (may|might) be", "i"),), True),
        PredicateExample("\uff32\uff45\uff46un\u00add", (Phrase("refund"),), True),
    ),
    refuse=refusal,
)
