"""Texts as lists of words, sentences, lines or paragraphs, as the units of these names have them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bylaw.spec import catalog
from bylaw.spec.catalog import Argument, NoValue
from bylaw.spec.expression import Extent, Phrase
from bylaw.spec.matching import folded

LONGEST_LIST = 100
LONGEST_PHRASE = 1000


def units(text: str, name: str) -> list[str]:
    """All units of a kind, such as `words`, as they are written."""
    return [text[extent.start : extent.end] for extent in catalog.unit(name).find(text)]


def words(text: str) -> list[str]:
    """All words in one case."""
    return units(folded(text), "words")


def item(items: Sequence[str], number: int) -> str:
    """The item with this number, 1 for the first and -1 for the last; the empty text where there is none."""
    place = number - 1 if number > 0 else number + len(items)
    return items[place] if 0 <= place < len(items) else ""


def mentions(text: str, phrase: str) -> tuple[Extent, ...]:
    """Where a text mentions a phrase: as whole words, in any case. Raises NoValue when the phrase is very long."""
    if len(phrase) > LONGEST_PHRASE:
        raise NoValue(f"a phrase has more than {LONGEST_PHRASE} characters")
    return catalog.predicate("mention").find(text, Phrase(phrase))


def listed(text: str) -> list[str]:
    """The items of a list that is written with commas, without white space around them and without empty ones.

    Raises NoValue for more than 100, since a text is searched for each of them.
    """
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    if len(entries) > LONGEST_LIST:
        raise NoValue(f"the list has more than {LONGEST_LIST} items")
    return entries


def runs(items: Sequence[str], length: int) -> list[tuple[str, ...]]:
    """All runs of neighbouring items of this length, from left to right."""
    return list(zip(*(items[start:] for start in range(length)), strict=False))


def refuse_no_list(place: int) -> Callable[[tuple[Argument | None, ...]], str | None]:
    """Refuses a list without items at this place of the arguments."""

    def refuse(arguments: tuple[Argument | None, ...]) -> str | None:
        entries = arguments[place]
        try:
            return "this list has no items" if isinstance(entries, str) and not listed(entries) else None
        except NoValue as error:
            return error.reason

    return refuse
