"""Finding phrases and patterns in a text: shared by the predicates.

All searches are about the plain form of the text (spec/normal.py), go from left to right without overlap and take time
linear in the text. Extents are those of the original text, with every character that takes part in a match; two matches
inside one character (`f` in the ligature `\\ufb00`) have the same one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import re2

from bylaw.spec.charset import CharSet, fold, word_characters
from bylaw.spec.expression import Extent, Matcher, Phrase, Regex
from bylaw.spec.normal import (
    Normalised,
    lookalikes,
    may_be_empty,
    plain,
    plain_text,
    spelled,
    spelled_text,
    widened,
)
from bylaw.spec.pattern import (
    Alternate,
    Assertion,
    Chars,
    CompiledPattern,
    Concat,
    Empty,
    Node,
    compile_node,
    literal,
    parse_pattern,
)

Span = tuple[int, int]
_ASCII: Final = bytes(range(128))


def find_all(text: str, matcher: Matcher) -> tuple[Extent, ...]:
    """Every occurrence of a phrase (case matters) or of a regular expression."""
    found = plain_text(text)
    if isinstance(matcher, Phrase):
        spans = _needle(matcher, False).spans(found.text)
    else:
        spans = (match.span() for match in _compiled(matcher, None).finditer(found.text))
    return tuple(found.extent(*span) for span in spans)


def find_words(text: str, phrase: Phrase) -> tuple[Extent, ...]:
    """Every occurrence of a phrase as whole words, in any case."""
    found = plain_text(text)
    return tuple(found.extent(*span) for span in _needle(phrase, True).spans(found.text))


def find_start(text: str, matcher: Matcher) -> tuple[Extent, ...]:
    """The phrase or pattern at the start of the text; nothing where it is not there."""
    found = plain_text(text)
    if isinstance(matcher, Phrase):
        span = _needle(matcher, False).at_start(found.text)
    else:
        match = _compiled(matcher, "text_start").search(found.text)
        span = match.span() if match else None
    return (found.extent(*span),) if span else ()


def find_end(text: str, matcher: Matcher) -> tuple[Extent, ...]:
    """The phrase or pattern at the end of the text; nothing where it is not there."""
    found = plain_text(text)
    if isinstance(matcher, Phrase):
        span = _needle(matcher, False).at_end(found.text)
    else:
        match = _compiled(matcher, "text_end").search(found.text)
        span = match.span() if match else None
    return (found.extent(*span),) if span else ()


def is_whole(text: str, matcher: Matcher) -> bool:
    """Whether the phrase or pattern spells out the whole text."""
    whole = plain_text(text).text
    if isinstance(matcher, Phrase):
        return _needle(matcher, False).at_start(whole) == (0, len(whole))
    return _compiled(matcher, None).fullmatch(whole) is not None


def node_of(matcher: Matcher) -> Normalised:
    """The pattern of a matcher, about plain texts."""
    return Normalised((_phrase_node(matcher, False) if isinstance(matcher, Phrase) else _regex_node(matcher),))


def words_node(matcher: Matcher) -> Normalised:
    """The pattern of a matcher that is looked for as whole words; a regular expression speaks for itself."""
    if isinstance(matcher, Regex):
        return node_of(matcher)
    edge = Assertion("unicode_word_edge")
    before, after = _edges(matcher)
    return Normalised((Concat((*[edge] * before, _phrase_node(matcher, True), *[edge] * after)),))


def refusal(matcher: Matcher) -> str | None:
    """Why a matcher cannot be used: matching ignores all of it, so that it would be found everywhere."""
    if isinstance(matcher, Phrase):
        vanishes = bool(matcher.text) and not plain(matcher.text)
    else:
        vanishes = may_be_empty(_regex_node(matcher)) and not may_be_empty(parse_pattern(matcher.source, matcher.flags))
    return "it has no character that matching looks at, so it would be found everywhere" if vanishes else None


def folded(text: str) -> str:
    """The text with one representative for each character's case variants; as long as the text itself."""
    others = () if text.isascii() else set(_without_ascii(text))
    if all(char == _representative(char) == char.lower() for char in others):
        return text.lower()  # many times faster, and quotes and dashes stay as they are
    return "".join(map(_representative, text))


def _without_ascii(text: str) -> str:
    """The other characters; many times faster than going through all of them."""
    return text.encode("utf-8", "surrogatepass").translate(None, _ASCII).decode("utf-8", "surrogatepass")


@lru_cache(maxsize=16)
def _folded_text(text: str) -> str:
    """One text is searched for many phrases."""
    return folded(text)


@lru_cache(maxsize=4096)
def _representative(character: str) -> str:
    # One character for one, so that places stay: `str.lower` makes two of some, such as `\u0130`.
    first = min(fold(character))
    return first.lower() if first.isascii() else first


# ------------------------------------------------------------------------------------------------------------ phrases
def _phrase_node(phrase: Phrase, any_case: bool) -> Node:
    """A phrase in all its spellings, in any case if so wanted, then with what its letters are mistaken for."""

    def widen(charset: CharSet) -> CharSet:
        cased = charset.union(*map(fold, charset)) if any_case else charset
        return lookalikes(cased) if phrase.lookalikes else cased

    return widened(spelled_text(phrase.text), widen)


def _edges(phrase: Phrase) -> tuple[bool, bool]:
    """Whether a word may not go on before the phrase, and after it: an end such as that of `C++` needs no edge."""
    text = plain(phrase.text)
    return is_word_character(text[:1]), is_word_character(text[-1:])


@dataclass(frozen=True)
class _Needle:
    """How to look for a phrase: as `text`, folded if `any_case`, or with `pattern` where there are several spellings.

    `edges` tells where the phrase may not be part of a longer word, `longest` how many characters it has at most.
    """

    text: str
    pattern: re.Pattern[str] | None
    any_case: bool
    edges: tuple[bool, bool]
    longest: int

    def spans(self, text: str) -> Iterator[Span]:
        """All places in a plain text, each starting where the last one ended or later."""
        find = self._searching(text)
        span = find(0)
        while span is not None:
            start, end = span
            accepted = (not self.edges[0] or _is_edge(text, start)) and (not self.edges[1] or _is_edge(text, end))
            if accepted:
                yield span
            span = find(max(end, start + 1) if accepted else start + 1)

    def _searching(self, text: str) -> Callable[[int], Span | None]:
        """The search for the next place from a position on."""
        if self.pattern is not None:
            search = self.pattern.search

            def by_pattern(position: int) -> Span | None:
                match = search(text, position) if position <= len(text) else None
                return match.span() if match else None

            return by_pattern
        hay = _folded_text(text) if self.any_case else text

        def by_text(position: int) -> Span | None:
            start = hay.find(self.text, position)
            return None if start < 0 else (start, start + len(self.text))

        return by_text

    def at_start(self, text: str) -> Span | None:
        """The place at the start of a plain text."""
        if self.pattern is None:
            return (0, len(self.text)) if text.startswith(self.text) else None
        match = self.pattern.match(text)
        return match.span() if match else None

    def at_end(self, text: str) -> Span | None:
        """The place at the end of a plain text."""
        if self.pattern is None:
            return (len(text) - len(self.text), len(text)) if text.endswith(self.text) else None
        for start in range(max(len(text) - self.longest, 0), len(text) + 1):
            if self.pattern.fullmatch(text, start):
                return start, len(text)
        return None


@lru_cache(maxsize=4096)
def _needle(phrase: Phrase, any_case: bool) -> _Needle:
    text = plain(phrase.text)
    edges = _edges(phrase) if any_case else (False, False)
    if not phrase.lookalikes and (text.isascii() or spelled_text(text) == literal(text)):
        return _Needle(folded(text) if any_case else text, None, any_case, edges, len(text))
    pattern = re.compile(_rendered(_phrase_node(phrase, any_case)))
    return _Needle(text, pattern, any_case, edges, len(unicodedata.normalize("NFD", text)))


def _rendered(node: Node) -> str:
    """A phrase's pattern for Python's engine, which can search from a position on; it has no repeats."""
    match node:
        case Chars(charset):
            return "[" + "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in charset.ranges) + "]"
        case Concat(items):
            return "".join(map(_rendered, items))
        case Alternate(items):
            return f"(?:{'|'.join(map(_rendered, items))})"
        case Empty():
            return ""
    raise ValueError(f"a phrase has no {type(node).__name__}")


def _is_edge(text: str, position: int) -> bool:
    """Whether the characters on both sides of `position` are not both part of a word."""
    if position == 0 or position == len(text):
        return True
    return not (is_word_character(text[position - 1]) and is_word_character(text[position]))


def is_word_character(character: str) -> bool:
    """A letter, mark or number of any script, or the underscore."""
    if character.isascii():
        return character.isalnum() or character == "_"
    return character in word_characters()


# ----------------------------------------------------------------------------------------------- regular expressions
@lru_cache(maxsize=1024)
def _regex_node(matcher: Regex) -> Node:
    """The pattern in all spellings, or as it is where that would be too large for the search engine."""
    tree = parse_pattern(matcher.source, matcher.flags)
    found = spelled(tree)
    if found != tree:
        try:
            compile_node(found)
        except re2.error:
            return tree
    return found


@lru_cache(maxsize=1024)
def _compiled(matcher: Regex, at: str | None) -> CompiledPattern:
    node = _regex_node(matcher)
    if at == "text_start":
        node = Concat((Assertion("text_start"), node))
    elif at == "text_end":
        node = Concat((node, Assertion("text_end")))
    return compile_node(node)
