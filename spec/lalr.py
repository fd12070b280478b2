"""A table-driven LALR(1) parser with a contextual lexer: reads what `grammar_tables` holds, knows no language.

Neither half recurses, so no text can exhaust the stack. A failed parse is a value (`Failure`), not an exception.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from bylaw.spec.grammar_tables import END_OF_TEXT, Rule, Tables
from bylaw.spec.source import Span

UNKNOWN = "$UNKNOWN"

Handler: TypeAlias = Callable[[list[Any], Span], Any]

_SKIP = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_NEXT_WORD = re.compile(r"[ \t\r\n]+([A-Za-z_][A-Za-z0-9_.]*)")


class Token(NamedTuple):
    """One terminal where it stands; `type` is `$UNKNOWN` for a character no terminal starts with."""

    type: str
    text: str
    start: int
    end: int

    @property
    def span(self) -> Span:
        """Where the token stands."""
        return Span(self.start, self.end)


@dataclass(frozen=True, slots=True)
class Failure:
    """Where a parse stopped: the tokens read, the one that did not fit, and the terminals that would have."""

    tokens: tuple[Token, ...]
    found: Token
    expected: frozenset[str]


@dataclass(frozen=True, slots=True)
class Success:
    """What the handlers made of the text, and the tokens it consists of."""

    value: Any
    tokens: tuple[Token, ...]


class Parser:
    """A parser of the language whose tables it is given; holds no state of a parse."""

    def __init__(self, tables: Tables) -> None:
        """Compile the terminals' regular expressions."""
        self._tables = tables
        self._lexer = _Lexer(tables)

    def parse(self, handlers: Mapping[str, Handler], text: str, start: int, end: int) -> Success | Failure:
        """Parse `text[start:end]`; `handlers` maps a rule or alias to what makes its value of children and span."""
        tables = self._tables
        states, rules = tables.states, tables.rules
        stack = [tables.start_state]
        values: list[Any] = []
        spans: list[tuple[int, int]] = []
        tokens: list[Token] = []
        offset = start
        while True:
            token = self._lexer.next_token(text, offset, end, states[stack[-1]])
            offset = token.end
            while True:
                target = states[stack[-1]].get(token.type)
                if target is None:
                    return Failure(tuple(tokens), token, _acceptable(tables, stack))
                if target >= 0:
                    stack.append(target)
                    values.append(token)
                    spans.append((token.start, token.end))
                    tokens.append(token)
                    break
                rule = rules[-1 - target]
                children: list[Any] = []
                extent = (spans[-1][1], spans[-1][1]) if spans else (start, start)
                if rule.size:
                    children = values[-rule.size :]
                    extent = (spans[-rule.size][0], spans[-1][1])
                    del stack[-rule.size :], values[-rule.size :], spans[-rule.size :]
                stack.append(states[stack[-1]][rule.origin])
                values.append(_reduce(rule, children, extent, handlers))
                spans.append(extent)
                if token.type == END_OF_TEXT and stack[-1] == tables.end_state:
                    return Success(values[-1], tuple(tokens))


def _reduce(rule: Rule, children: list[Any], extent: tuple[int, int], handlers: Mapping[str, Handler]) -> Any:
    """Return the value of a production: spliced rules give the list of their children, others go to their handler."""
    kept: list[Any] = []
    for index, is_spliced in rule.kept:
        if not is_spliced:
            kept.append(children[index])
        elif kept:
            kept.extend(children[index])
        else:
            kept = children[index]  # nobody else holds that list: repetitions stay linear
    if rule.is_spliced:
        return kept
    if rule.passes_single_child and len(kept) == 1:
        return kept[0]
    return handlers[rule.handler](kept, Span(*extent))


def _acceptable(tables: Tables, stack: list[int]) -> frozenset[str]:
    """Return the terminals that could really come next: LALR rows also list some that fail after a reduction."""
    names = (name for name in tables.states[stack[-1]] if name in tables.literals or name in tables.patterns)
    accepted = {name for name in names if _would_shift(tables, stack, name)}
    if _would_shift(tables, stack, END_OF_TEXT):
        accepted.add(END_OF_TEXT)
    return frozenset(accepted)


def _would_shift(tables: Tables, stack: list[int], name: str) -> bool:
    trial = list(stack)
    while True:
        target = tables.states[trial[-1]].get(name)
        if target is None:
            return False
        if target >= 0:
            return True
        rule = tables.rules[-1 - target]
        if rule.size:
            del trial[-rule.size :]
        trial.append(tables.states[trial[-1]][rule.origin])
        if trial[-1] == tables.end_state and name == END_OF_TEXT:
            return True


class _Lexer:
    """Finds the next token that fits the parser's state: whole words, longest phrase first, keywords before names."""

    def __init__(self, tables: Tables) -> None:
        self._phrases = tables.phrases
        self._starts = tables.starts
        self._literals = tables.literals
        used = {name for names in tables.starts.values() for name in names}
        self._patterns = {name: re.compile(tables.patterns[name]) for name in used if name in tables.patterns}

    def next_token(self, text: str, offset: int, end: int, accepted: Mapping[str, int]) -> Token:
        """Return the next token of `text[:end]`; where nothing fits, the one that would fit elsewhere."""
        skipped = _SKIP.match(text, offset, end)
        place = skipped.end() if skipped else offset
        if place >= end:
            return Token(END_OF_TEXT, "", place, place)
        word = _WORD.match(text, place, end)
        if word:
            return self._word_token(text, word, end, accepted)
        fallback: Token | None = None
        for name in self._starts.get(text[place], ()):
            stop = self._match(name, text, place, end)
            if stop is not None:
                token = Token(name, text[place:stop], place, stop)
                if name in accepted:
                    return token
                fallback = fallback or token
        return fallback or Token(UNKNOWN, text[place], place, place + 1)

    def _word_token(self, text: str, word: re.Match[str], end: int, accepted: Mapping[str, int]) -> Token:
        fallback: Token | None = None
        for name, further in self._phrases.get(word[0], ()):
            stop = _end_of_phrase(text, word.end(), end, further)
            if stop is not None:
                token = Token(name, text[word.start() : stop], word.start(), stop)
                if name in accepted:
                    return token
                fallback = fallback or token
        plain = Token("NAME", word[0], word.start(), word.end())
        return plain if "NAME" in accepted else fallback or plain

    def _match(self, name: str, text: str, place: int, end: int) -> int | None:
        literal = self._literals.get(name)
        if literal is not None:
            return place + len(literal) if text.startswith(literal, place, end) else None
        match = self._patterns[name].match(text, place, end)
        return match.end() if match else None


def _end_of_phrase(text: str, offset: int, end: int, words: tuple[str, ...]) -> int | None:
    for word in words:
        following = _NEXT_WORD.match(text, offset, end)
        if following is None or following[1] != word:
            return None
        offset = following.end()
    return offset
