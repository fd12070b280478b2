"""`be chained`: each sentence but the first begins with the last word of the one before, in any case; at least two."""

from itertools import pairwise

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher
from bylaw.spec.matching import folded
from bylaw.spec.units import sentences, words


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    return (Extent(0, len(text)),) if _holds(text) else ()


def _holds(text: str) -> bool:
    ends = [_ends(folded(text[extent.start : extent.end])) for extent in sentences.find(text)]
    return len(ends) > 1 and all(first[1] == second[0] for first, second in pairwise(ends))


def _ends(sentence: str) -> tuple[str, str]:
    found = words.find(sentence) or (Extent(0, 0),)
    first, last = found[0], found[-1]
    return sentence[first.start : first.end], sentence[last.start : last.end]


def language(matcher: Matcher | None) -> Language | None:
    return None


PREDICATE = Predicate(
    summary="each sentence begins with the last word of the one before",
    takes_matchers=False,
    find=find,
    language=language,
    examples=(
        PredicateExample("We love the sea. Sea air heals.", (), True),
        PredicateExample("We sail. They row.", (), False),
        PredicateExample("One.", (), False),
    ),
)
