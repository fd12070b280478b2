"""Finding phrases and patterns in a text: shared by the predicates.

All searches go from left to right without overlap and take time linear in the text.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from bylaw.spec.charset import fold, word_characters
from bylaw.spec.expression import Extent, Matcher, Phrase
from bylaw.spec.pattern import Node, compile_pattern, literal, parse_pattern, whole_words


def find_all(text: str, matcher: Matcher) -> tuple[Extent, ...]:
    """Every occurrence of a phrase (case matters) or of a regular expression."""
    if isinstance(matcher, Phrase):
        return _find_phrase(text, matcher.text)
    pattern = compile_pattern(matcher.source, matcher.flags)
    return tuple(Extent(found.start(), found.end()) for found in pattern.finditer(text))


def find_words(text: str, phrase: str) -> tuple[Extent, ...]:
    """Every occurrence of a phrase as whole words, in any case."""
    return tuple(
        extent for extent in _find_phrase(folded(text), folded(phrase), keep=lambda extent: _is_whole(text, extent))
    )


def folded(text: str) -> str:
    """The text with one representative for each character's case variants; as long as the text itself."""
    return text.lower() if text.isascii() else "".join(map(_representative, text))


def node_of(matcher: Matcher) -> Node:
    """The pattern of a matcher."""
    if isinstance(matcher, Phrase):
        return literal(matcher.text)
    return parse_pattern(matcher.source, matcher.flags)


def words_node(matcher: Matcher) -> Node:
    """The pattern of a matcher that is looked for as whole words; a regular expression speaks for itself."""
    return whole_words(matcher.text) if isinstance(matcher, Phrase) else node_of(matcher)


def _find_phrase(text: str, phrase: str, keep: Callable[[Extent], bool] | None = None) -> tuple[Extent, ...]:
    found, position = [], text.find(phrase)
    while position >= 0:
        extent = Extent(position, position + len(phrase))
        accepted = keep is None or keep(extent)
        if accepted:
            found.append(extent)
        position = text.find(phrase, position + (max(len(phrase), 1) if accepted else 1))
    return tuple(found)


@lru_cache(maxsize=4096)
def _representative(character: str) -> str:
    # One character for one, so that places stay: `str.lower` makes two of some, such as `\u0130`.
    first = min(fold(character))
    return first.lower() if first.isascii() else first


def _is_whole(text: str, extent: Extent) -> bool:
    return _is_edge(text, extent.start) and _is_edge(text, extent.end)


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
