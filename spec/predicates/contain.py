"""`contain "text"`, `contain /pattern/`: somewhere in the text, case matters; spelling in Unicode does not."""

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher, Phrase, Regex
from bylaw.spec.matching import find_all, node_of, refusal


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    assert matcher is not None
    return find_all(text, matcher)


def language(matcher: Matcher | None) -> Language | None:
    assert matcher is not None
    return Language("search", node_of(matcher))


PREDICATE = Predicate(
    summary="the text or pattern occurs somewhere; upper and lower case differ",
    takes_matchers=True,
    find=find,
    language=language,
    examples=(
        PredicateExample("Our cats purr.", (Phrase("cat"),), True),
        PredicateExample("Our Cats purr.", (Phrase("cat"),), False),
        PredicateExample("Order 4821 shipped", (Regex(r"\d{4}"),), True),
        PredicateExample("Order 482 shipped", (Regex(r"\d{4}"),), False),
        PredicateExample("the \uff43\uff41\uff54 and the c\u200bat", (Phrase("cat"),), True),
        PredicateExample("cafe\u0301", (Phrase("caf\u00e9"),), True),
        PredicateExample("p\u0430y", (Phrase("pay"),), False),
        PredicateExample("p\u0430y", (Phrase("pay", lookalikes=True),), True),
    ),
    refuse=refusal,
)
