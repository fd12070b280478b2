"""`be title_case`: no word begins with a small letter, and some word with a capital.

Short words that titles may leave small (`a`, `of`, ...) are excepted, unless they are the first or the last word.
"""

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher
from bylaw.spec.units import words

SMALL = " a an and as at but by for from in nor of off on or per so the to up via with yet "


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    return (Extent(0, len(text)),) if _holds(text) else ()


def _holds(text: str) -> bool:
    found = [text[extent.start : extent.end] for extent in words.find(text)]
    inner = range(1, len(found) - 1)
    small = [place for place, word in enumerate(found) if word[0].islower()]
    return any(not word[0].islower() and word[0].isalpha() for word in found) and all(
        place in inner and f" {found[place]} " in SMALL for place in small
    )


def language(matcher: Matcher | None) -> Language | None:
    return None


PREDICATE = Predicate(
    summary="every word begins with a capital, short ones such as of inside the text excepted",
    takes_matchers=False,
    find=find,
    language=language,
    examples=(
        PredicateExample("The Wind in the Willows", (), True),
        PredicateExample("Room 42", (), True),
        PredicateExample("The wind", (), False),
        PredicateExample("Waiting for", (), False),
        PredicateExample("42", (), False),
    ),
)
