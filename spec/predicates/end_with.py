"""`end with "text"`: the text ends like this, case matters."""

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher, Phrase, Regex
from bylaw.spec.matching import node_of
from bylaw.spec.pattern import Assertion, Concat, compile_node


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    assert matcher is not None
    if isinstance(matcher, Phrase):
        return (Extent(len(text) - len(matcher.text), len(text)),) if text.endswith(matcher.text) else ()
    found = compile_node(Concat((node_of(matcher), Assertion("text_end")))).search(text)
    return (Extent(found.start(), found.end()),) if found else ()


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
    ),
)
