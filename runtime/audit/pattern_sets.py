"""Patterns of a program in google-re2 Sets: one pass over a text says which of them occur.

Two traps of Sets are closed. One that runs out of memory says that nothing matches: a pattern that is found everywhere
is part of each Set, and its absence tells. And the engine's word edges are those of ASCII: those of phrases, which are
of all scripts, are written out as characters before and after. Where an edge stands inside a pattern it is left out,
and what is found is looked at afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias, cast

from bylaw.compiler.program import RewardTerm
from bylaw.spec import catalog
from bylaw.spec.catalog import Language
from bylaw.spec.charset import word_characters
from bylaw.spec.expression import (
    And,
    BooleanExpression,
    Compare,
    FoundAmong,
    Holds,
    Matcher,
    MessageText,
    Not,
    Occurrences,
    Or,
    TextExpression,
)
from bylaw.spec.normal import Normalised
from bylaw.spec.pattern import Alternate, Assertion, Chars, Concat, Empty, Node, Repeat, render

_MAX_MEMORY: Final = 1 << 28
"""Bytes that one Set may use; the default of 8 MiB is many times slower with 200 patterns and too little for 3,000."""
_MOST_PATTERNS: Final = 3_000
"""Patterns of one Set; more are several Sets, each a pass of its own."""
EVERYWHERE: Final = 0
"""The place in each Set of the pattern that is found in every text."""

Role: TypeAlias = tuple[str, bool]
"""Which text of the conversation, and whether in its plain form: patterns are about the one or the other."""


class Engine(Protocol):
    def Match(self, text: bytes) -> list[int]: ...  # noqa: N802 - the engine's name


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern: the number of its Set, and its place there. `is_exact`: that it occurs settles the question; else
    only that it does not."""

    number: int
    place: int
    is_exact: bool


Asked: TypeAlias = tuple[str, str, Matcher | None]
"""(the text of the conversation, the predicate, what it looks for)."""


def questions_of(terms: Iterable[RewardTerm]) -> dict[Role, dict[Asked, Language]]:
    """What is asked about which text of the conversation, in which form, where it is a regular language."""
    asked: dict[Role, dict[Asked, Language]] = {}
    for term in terms:
        for said in (term.condition, term.among, term.holds):
            for part in () if said is None else _leaves(said):
                assert isinstance(part.subject, MessageText)
                role = part.subject.role
                for matcher in part.matchers or (None,):
                    language = catalog.predicate(part.predicate).language(matcher)
                    if language is not None:
                        is_plain = isinstance(language.node, Normalised)
                        asked.setdefault((role, is_plain), {})[role, part.predicate, matcher] = language
    return asked


def _leaves(expression: BooleanExpression) -> Iterator[Holds | Occurrences | FoundAmong]:
    """What is asked of patterns, in a statement that may ask other things as well."""
    match expression:
        case Not(item):
            yield from _leaves(item)
        case And(items) | Or(items):
            for item in items:
                yield from _leaves(item)
        case Holds(_, subject) if expression.argument is None and _is_of_message(subject):
            yield expression
        case Compare(_, left, right):
            for side in (left, right):
                if isinstance(side, Occurrences | FoundAmong) and _is_of_message(side.subject):
                    yield side


def _is_of_message(subject: TextExpression) -> bool:
    return isinstance(subject, MessageText) and subject.role != "it"


def sets_of(questions: Mapping[Asked, Language], number: int) -> tuple[tuple[Engine, ...], dict[Asked, Pattern]]:
    """Sets of the patterns that the engine can have, numbered from `number`; the others are not in any."""
    sets: list[Engine] = []
    patterns: dict[Asked, Pattern] = {}
    asked = tuple(questions)
    for first in range(0, len(asked), _MOST_PATTERNS):
        part = asked[first : first + _MOST_PATTERNS]
        written = [source_of(questions[each]) for each in part]
        engine, places = _set_of([source for source, _ in written])
        for each, (_, is_exact), place in zip(part, written, places, strict=True):
            if place is not None:
                patterns[each] = Pattern(number + len(sets), place, is_exact)
        sets.append(engine)
    return tuple(sets), patterns


def source_of(language: Language) -> tuple[str, bool]:
    """RE2 source that is found in the texts of a language, and whether in no others."""
    start = r"\A" if language.mode in ("prefix", "full") else ""
    end = r"\z" if language.mode in ("suffix", "full") else ""
    node = language.node
    while isinstance(node, Concat) and len(node.items) == 1:
        (node,) = node.items
    items = list(node.items) if isinstance(node, Concat) and language.mode == "search" else [node]
    if len(items) > 1 and _is_edge(items[0]) and _is_word_character_at(0, items[1]):
        items[0] = Alternate((Assertion("text_start"), _beside_words()))
    if len(items) > 1 and _is_edge(items[-1]) and _is_word_character_at(-1, items[-2]):
        items[-1] = Alternate((_beside_words(), Assertion("text_end")))
    whole = Concat(tuple(items))
    is_exact = not any(map(_is_edge, _parts(whole)))
    return f"{start}(?:{render(_without_edges(whole))}){end}", is_exact


def _set_of(sources: Sequence[str]) -> tuple[Engine, list[int | None]]:
    """A Set, and the place of each pattern in it; None for one that is too large for the engine."""
    import re2

    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = _MAX_MEMORY
    found: Any = re2.Set.SearchSet(options)
    found.Add("")
    places: list[int | None] = []
    for source in sources:
        try:
            places.append(int(found.Add(source)))
        except re2.error:
            places.append(None)
    found.Compile()
    return cast(Engine, found), places


def _beside_words() -> Node:
    return Chars(word_characters().complement())


def _is_word_character_at(end: Literal[0, -1], node: Node) -> bool:
    """Whether all texts of the pattern begin (0) or end (-1) with a letter, mark or number of any script."""
    match node:
        case Chars(charset):
            return bool(charset) and not charset.difference(word_characters())
        case Concat(items):
            return bool(items) and _is_word_character_at(end, items[end])
        case Alternate(items):
            return all(_is_word_character_at(end, item) for item in items)
    return False


def _is_edge(node: Node) -> bool:
    return node == Assertion("unicode_word_edge")


def _parts(node: Node) -> Iterator[Node]:
    yield node
    match node:
        case Concat(items) | Alternate(items):
            for item in items:
                yield from _parts(item)
        case Repeat(item):
            yield from _parts(item)


def _without_edges(node: Node) -> Node:
    match node:
        case Assertion("unicode_word_edge"):
            return Empty()
        case Concat(items):
            return Concat(tuple(map(_without_edges, items)))
        case Alternate(items):
            return Alternate(tuple(map(_without_edges, items)))
        case Repeat(item, least, most, lazy):
            return Repeat(_without_edges(item), least, most, lazy)
    return node
