"""What matching looks through: one plain form for the ways in which Unicode writes the same.

`plain` replaces every character by its NFKC form taken by itself (full-width and mathematical letters, ligatures, `…`)
and drops the characters that show nothing (zero-width and soft hyphens, joiners, variation selectors, direction
marks). It works character by character: `plain(a + b) == plain(a) + plain(b)`, so an automaton over plain texts is one
over texts as they are (compiler/automata/pullback.py). What composes several characters, as in `e` with a combining
accent, is left to the pattern: `spelled` makes one that finds every spelling. Unicode 16, UAX #15 and UAX #44.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import permutations, product
from types import MappingProxyType
from typing import Final

from bylaw.spec.charset import EMPTY, CharSet
from bylaw.spec.expression import Extent
from bylaw.spec.pattern import Alternate, Chars, Concat, Empty, Node, Repeat, literal
from bylaw.spec.unicode_tables import MATCHING_FILE, charset_of, load

LARGEST_CLASS: Final = 400
"""A class with more characters is taken as it is: its members are found in their plain form only."""
_CASES_OF_ASCII: Final = CharSet.of("\u017f\u212a")
_LONGEST_CLUSTER: Final = 5
_MOST_SPELLINGS: Final = 64
_MOST_PARTS: Final = 20_000


_ASCII: Final = bytes(range(128))
_MOST_REPLACED: Final = 20


@dataclass(frozen=True)
class Normalised(Concat):
    """A pattern, the one item, that is about the plain form of a text."""


@cache
def forms() -> tuple[tuple[str, str], ...]:
    """(plain form, the characters that have it, in order) for every character that is not its own plain form."""
    tables = load(MATCHING_FILE)
    ignored = "".join(charset_of(tables["ignored"]))
    return ("", ignored), *zip(tables["plain"], tables["forms"], strict=True)


@cache
def _replacements() -> Mapping[int, str]:
    return MappingProxyType({point: plain for plain, chars in forms() for point in map(ord, chars)})


def plain(text: str) -> str:
    """The plain form of a text; ASCII is its own."""
    if text.isascii():
        return text
    replacements = _replacements()
    try:
        others = text.encode().translate(None, _ASCII).decode()  # many times faster than going through the characters
    except UnicodeEncodeError:
        others = text
    changed = [char for char in set(others) if ord(char) in replacements]
    if len(changed) > _MOST_REPLACED:
        return text.translate(replacements)
    for char in changed:  # a few quotes and dashes in a long text: many times faster, and plain forms stay as they are
        text = text.replace(char, replacements[ord(char)])
    return text


@dataclass(frozen=True, slots=True)
class PlainText:
    """The plain form of a text, and where each of its characters comes from (None: from the same place)."""

    text: str
    origins: tuple[int, ...] | None
    length: int

    def extent(self, start: int, end: int) -> Extent:
        """The place in the original text of a stretch of the plain one, with all characters that take part in it."""
        if self.origins is None:
            return Extent(start, end)
        first = self.origins[start] if start < len(self.origins) else self.length
        return Extent(first, self.origins[end - 1] + 1 if end > start else first)


@lru_cache(maxsize=16)
def plain_text(text: str) -> PlainText:
    """The plain form of a text with its offsets."""
    found = plain(text)
    if found == text:
        return PlainText(text, None, len(text))
    return PlainText(found, _origins(text), len(text))


def _origins(text: str) -> tuple[int, ...]:
    """For each character of the plain form the place that it comes from. What stays as it is goes by in stretches."""
    replacements = _replacements()
    changed = "".join(char for char in set(text) if ord(char) in replacements)
    origins: list[int] = []
    done = 0
    for match in re.finditer(f"[{re.escape(changed)}]", text) if changed else ():
        place = match.start()
        origins.extend(range(done, place))
        origins.extend([place] * len(replacements[ord(text[place])]))
        done = place + 1
    origins.extend(range(done, len(text)))
    return tuple(origins)


# ---------------------------------------------------------------------------------------------------------- spellings
def spelled(node: Node) -> Node:
    """The pattern for plain texts that finds what the given one says, in each of its spellings.

    A literal character and a class of up to LARGEST_CLASS characters find their plain forms, composed and decomposed;
    so do a letter and the marks that follow it in the pattern, in any order that means the same. Larger and negated
    classes are taken as they are. A literal character that plain texts do not have is left out.
    """
    found = _spelled(node)
    return found if _parts(found) <= max(_MOST_PARTS, _parts(node)) else node


def spelled_text(text: str) -> Node:
    """The same for a fixed text."""
    return spelled(literal(plain(text)))


def widened(node: Node, widen: Callable[[CharSet], CharSet]) -> Node:
    """The pattern with every set of characters replaced."""
    match node:
        case Chars(charset):
            return Chars(widen(charset))
        case Concat(items):
            return Concat(tuple(widened(item, widen) for item in items))
        case Alternate(items):
            return Alternate(tuple(widened(item, widen) for item in items))
        case Repeat(item, least, most, lazy):
            return Repeat(widened(item, widen), least, most, lazy)
        case _:
            return node


def may_be_empty(node: Node) -> bool:
    """Whether the pattern may match the empty text."""
    match node:
        case Chars():
            return False
        case Concat(items):
            return all(map(may_be_empty, items))
        case Alternate(items):
            return any(map(may_be_empty, items))
        case Repeat(item, least, _):
            return least == 0 or may_be_empty(item)
        case _:
            return True


def _spelled(node: Node) -> Node:
    match node:
        case Chars(charset):
            return _class(charset)
        case Concat(items):
            return Concat(tuple(_sequence(items)))
        case Alternate(items):
            return Alternate(tuple(map(_spelled, items)))
        case Repeat(item, least, most, lazy):
            return Repeat(_spelled(item), least, most, lazy)
        case _:
            return node


def _class(charset: CharSet) -> Node:
    """A class by itself; the characters that show nothing count only where there is nothing else in it."""
    charset = charset.difference(_CASES_OF_ASCII) if _holds_plain_cases(charset) else charset
    if _is_ascii(charset) or len(charset) > LARGEST_CLASS:
        return Chars(charset)
    texts = {plain(char) for char in charset}
    texts = texts - {""} or texts
    return _any_of({spelling for text in texts for spelling in _spellings(text)})


def _sequence(items: tuple[Node, ...]) -> list[Node]:
    """Neighbours that write one character together (a letter and its accents) are spelled together."""
    found: list[Node] = []
    place = 0
    while place < len(items):
        cluster = _cluster(items, place)
        if len(cluster) > 1:
            texts = ("".join(chars) for chars in product(*cluster))
            found.append(_any_of({spelling for text in texts for spelling in _spellings(plain(text))}))
        else:
            found.append(_spelled(items[place]))
        place += len(cluster)
    return found


def _cluster(items: tuple[Node, ...], start: int) -> list[tuple[str, ...]]:
    """The small sets of characters from `start` on that compose with each other; one where none follows."""
    cluster: list[tuple[str, ...]] = []
    count = 1
    for item in items[start : start + _LONGEST_CLUSTER]:
        small = isinstance(item, Chars) and len(item.charset) <= 4
        members = tuple(item.charset) if small and isinstance(item, Chars) else ()
        count *= len(members)
        joins = members and count <= _MOST_SPELLINGS and _extends("".join(other[0] for other in cluster), members[0])
        if cluster and not joins:
            break
        cluster.append(members)
        if not members:
            break
    return cluster


def _extends(before: str, char: str) -> bool:
    """Whether a character can be a part of what is before it: a combining mark, a vowel sign, a Hangul vowel."""
    if not before or (before.isascii() and char.isascii()):
        return False
    together = unicodedata.normalize("NFC", before) + char
    return unicodedata.combining(char) != 0 or unicodedata.normalize("NFC", together) != together


def _any_of(texts: set[str]) -> Node:
    """Longest first, so that a search takes a letter with its accents."""
    single = CharSet.of(text for text in texts if len(text) == 1)
    longer = sorted((text for text in texts if len(text) > 1), key=lambda text: (-len(text), text))
    branches = [Concat(tuple(Chars(CharSet.of(char)) for char in text)) for text in longer]
    last: list[Node] = [Chars(single)] if single else []
    empty: list[Node] = [Empty()] if "" in texts else []
    found = (*branches, *last, *empty)
    return found[0] if len(found) == 1 else Alternate(found)


@lru_cache(maxsize=4096)
def _spellings(text: str) -> tuple[str, ...]:
    """All plain texts that are canonically equivalent to a short plain one."""
    if text.isascii():
        return (text,)
    apart = unicodedata.normalize("NFD", text)
    together = unicodedata.normalize("NFC", text)
    if len(apart) > _LONGEST_CLUSTER:
        return tuple(sorted({text, apart, together}))
    orders = map("".join, permutations(apart))
    found = {text, *(order for order in orders if unicodedata.normalize("NFD", order) == apart)}
    waiting = list(found)
    for spelling in waiting:
        for place in range(len(spelling) - 1):
            pair = unicodedata.normalize("NFC", spelling[place : place + 2])
            shorter = spelling[:place] + pair + spelling[place + 2 :]
            if len(pair) == 1 and shorter not in found:
                found.add(shorter)
                waiting.append(shorter)
    found = {spelling for spelling in found if plain(spelling) == spelling}
    return tuple(sorted(found)) if len(found) <= _MOST_SPELLINGS else tuple(sorted({text, apart, together}))


def _holds_plain_cases(charset: CharSet) -> bool:
    """Whether leaving out `\u017f` and `\u212a`, cases of `s` and `k`, changes nothing: plain texts have neither.

    So a pattern for ASCII in any case needs no tables.
    """
    return ("\u017f" not in charset or "s" in charset) and ("\u212a" not in charset or "K" in charset)


def _is_ascii(charset: CharSet) -> bool:
    return not charset.ranges or charset.ranges[-1][1] < 128


def _parts(node: Node) -> int:
    """How large the pattern is with its repeats written out."""
    match node:
        case Concat(items) | Alternate(items):
            return sum(map(_parts, items)) + 1
        case Repeat(item, least, most):
            return _parts(item) * max(least, most or 0, 1) + 1
        case _:
            return 1


# --------------------------------------------------------------------------------------------------------- lookalikes
@cache
def _lookalikes() -> Mapping[str, CharSet]:
    sets = [(group, CharSet.of(group)) for group in load(MATCHING_FILE)["lookalikes"]]
    return MappingProxyType({char: charset for group, charset in sets for char in group})


def lookalikes(charset: CharSet) -> CharSet:
    """The characters and the Latin, Greek and Cyrillic letters and digits that are mistaken for them (UTS #39)."""
    known = _lookalikes()
    return charset.union(*(known.get(char, EMPTY) for char in charset))
