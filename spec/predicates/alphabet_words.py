"""`be alphabet_words`: each word begins with the letter of the Latin alphabet behind that of the word before.

After z comes a; case and accents are left aside. There are at least two words.
"""

import unicodedata
from itertools import pairwise

from bylaw.spec.catalog import Language, Predicate, PredicateExample
from bylaw.spec.expression import Extent, Matcher
from bylaw.spec.units import words

ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def find(text: str, matcher: Matcher | None) -> tuple[Extent, ...]:
    return (Extent(0, len(text)),) if _holds(text) else ()


def _holds(text: str) -> bool:
    places = [ALPHABET.find(unicodedata.normalize("NFD", word)[0].lower()) for word in _words(text)]
    return len(places) > 1 and -1 not in places and all((b - a) % len(ALPHABET) == 1 for a, b in pairwise(places))


def _words(text: str) -> list[str]:
    return [text[extent.start : extent.end] for extent in words.find(text)]


def language(matcher: Matcher | None) -> Language | None:
    return None


PREDICATE = Predicate(
    summary="the words begin with letters in the order of the alphabet",
    takes_matchers=False,
    find=find,
    language=language,
    examples=(
        PredicateExample("Young zebras are big.", (), True),
        PredicateExample("Able dogs", (), False),
        PredicateExample("Able", (), False),
    ),
)
