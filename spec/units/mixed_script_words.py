"""A word of mixed scripts: Latin letters together with Cyrillic or Greek ones, or those two together.

Such words look like others (`p\u0430ypal` has a Cyrillic letter) and get around lists of words. Unicode Technical
Standard 39 calls them mixed-script; of the scripts that it names, these three have the look-alikes.
"""

import unicodedata
from functools import lru_cache

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent
from bylaw.spec.units import words

SCRIPTS = ("LATIN", "CYRILLIC", "GREEK")


def find(text: str) -> tuple[Extent, ...]:
    if text.isascii():
        return ()
    return tuple(extent for extent in words.find(text) if _is_mixed(text[extent.start : extent.end]))


def _is_mixed(word: str) -> bool:
    return not word.isascii() and len({_script(character) for character in word} - {""}) > 1


@lru_cache(maxsize=4096)
def _script(character: str) -> str:
    name = unicodedata.name(character, "").partition(" ")[0] if character.isalpha() else ""
    return name if name in SCRIPTS else ""


UNIT = Unit(
    summary="words with letters of several alphabets that look alike (Latin, Cyrillic, Greek)",
    find=find,
    machine=None,
    examples=(UnitExample("p\u0430ypal and \u0430\u0431\u0432 and na\u00efve", 1), UnitExample("\u0394x \u00b5m", 1)),
    is_raw=True,
)
