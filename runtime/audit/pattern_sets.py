"""Patterns of a program, and google-re2 Sets of them: one pass over a text says which of them occur.

Two traps of Sets are closed. One that runs out of memory says that nothing matches: a pattern that is found everywhere
is part of each Set, and its absence tells. And the engine's word edges are those of ASCII: those of phrases, which are
of all scripts, are written out as what stands before and after (runtime/audit/byte_patterns.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, cast

import numpy as np

from bylaw.compiler.program import RewardTerm
from bylaw.runtime.audit.byte_patterns import BORDER, Written, beside_words, is_word_at
from bylaw.runtime.audit.searched import Searched
from bylaw.spec import catalog
from bylaw.spec.catalog import Language
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
from bylaw.spec.normal import Normalised, plain
from bylaw.spec.pattern import Alternate, Assertion, Chars, Concat, Empty, Node, Repeat, render

_MAX_MEMORY: Final = 1 << 28
"""Bytes that one Set may use; the default of 8 MiB is many times slower with 200 patterns and too little for 3,000."""
_MOST_PATTERNS: Final = 3_000
"""Patterns of one Set; more are several Sets, each a pass of its own."""
_EVERYWHERE: Final = 0
"""The place in each Set of the pattern that is found in every text."""

Role: TypeAlias = tuple[str, bool]
"""Which text of the conversation, and whether in its plain form: patterns are about the one or the other."""
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


class _Engine(Protocol):
    def Match(self, text: bytes) -> list[int] | None: ...  # noqa: N802 - the engine's name


@dataclass(frozen=True, slots=True)
class Re2Sets:
    """A search for patterns in texts, or in their plain form (`is_plain`), by Sets; `places` are those of the patterns
    of each Set, after the one that is found everywhere."""

    is_plain: bool
    sets: tuple[tuple[_Engine, tuple[int, ...]], ...]

    def search(self, texts: Sequence[str]) -> Searched:
        """Which patterns occur in which texts; see Searched."""
        numbers: list[int] = []
        found: list[int] = []
        refused: list[int] = []
        for number, text in enumerate(texts):
            places = self._places(text)
            if places is None:
                refused.append(number)
            elif places:
                found += places
                numbers += [number] * len(places)
        return Searched(np.array(numbers, np.int64), np.array(found, np.int64), tuple(refused))

    def _places(self, text: str) -> list[int] | None:
        try:
            data = b"%b%b%b" % (BORDER, (plain(text) if self.is_plain else text).encode(), BORDER)
        except UnicodeEncodeError:
            return None
        found: list[int] = []
        for engine, places in self.sets:
            matches = engine.Match(data)
            if not matches or _EVERYWHERE not in matches:
                return None
            found += [places[match - 1] for match in matches if match != _EVERYWHERE]
        return found


def re2_sets(patterns: Mapping[int, Written], is_plain: bool) -> tuple[Re2Sets | None, frozenset[int]]:
    """(a search for those of the numbered patterns that RE2 takes, None where there are none; their numbers)."""
    numbers = tuple(patterns)
    sets: list[tuple[_Engine, tuple[int, ...]]] = []
    taken: set[int] = set()
    for first in range(0, len(numbers), _MOST_PATTERNS):
        part = numbers[first : first + _MOST_PATTERNS]
        sets.append(_set_of({number: patterns[number] for number in part}, taken))
    return (Re2Sets(is_plain, tuple(sets)) if taken else None), frozenset(taken)


def _set_of(patterns: Mapping[int, Written], taken: set[int]) -> tuple[_Engine, tuple[int, ...]]:
    """A Set and the places of what is in it; `taken` gets the numbers of the patterns that it has whole."""
    import re2

    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = _MAX_MEMORY
    options.encoding = re2.Options.Encoding.LATIN1
    engine: Any = re2.Set.SearchSet(options)
    engine.Add("")
    places: list[int] = []
    for number, each in patterns.items():
        try:
            for sources, place in ((each.sure, 2 * number), (each.maybe, 2 * number + 1)):
                for source in sources:
                    engine.Add(source)
                    places.append(place)
        except re2.error:
            continue
        taken.add(number)
    engine.Compile()
    return cast(_Engine, engine), tuple(places)


def source_of(language: Language) -> str:
    """RE2 source for texts as they are that is found in those of a language, and, if it `is_exact`, in no others."""
    start = r"\A" if language.mode in ("prefix", "full") else ""
    end = r"\z" if language.mode in ("suffix", "full") else ""
    return f"{start}(?:{render(_without_edges(_with_edges_written(language)))}){end}"


def is_exact(language: Language) -> bool:
    """Whether all word edges of a language can be written for RE2."""
    return not any(map(_is_edge, _parts(_with_edges_written(language))))


def _with_edges_written(language: Language) -> Node:
    """The pattern with the word edges at its ends written as what stands beside them."""
    node = language.node
    while isinstance(node, Concat) and len(node.items) == 1:
        (node,) = node.items
    items = list(node.items) if isinstance(node, Concat) and language.mode == "search" else [node]
    if len(items) > 1 and _is_edge(items[0]) and is_word_at(0, items[1]):
        items[0] = Alternate((Assertion("text_start"), Chars(beside_words())))
    if len(items) > 1 and _is_edge(items[-1]) and is_word_at(-1, items[-2]):
        items[-1] = Alternate((Chars(beside_words()), Assertion("text_end")))
    return Concat(tuple(items))


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
