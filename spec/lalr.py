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

# what means nothing, and the word behind it, if there is one
_WORD = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+([A-Za-z_][A-Za-z0-9_]*+(?:\.[A-Za-z_][A-Za-z0-9_]*+)*+)?+").match
_NEXT_WORD = re.compile(r"[ \t\r\n]+([A-Za-z_][A-Za-z0-9_.]*)").match


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


# What a reduction does with the values of its symbols; most do nothing but rename one.
_KEEP, _WRAP, _UNWRAP, _SPLICE, _MAKE = range(5)


class _Reduction(NamedTuple):
    """A production as the parser carries it out; `number` is that of its handler."""

    size: int
    origin: str
    kind: int
    kept: tuple[tuple[int, bool], ...]
    passes_single_child: bool
    number: int


Handlers: TypeAlias = tuple[Handler | None, ...]


class Parser:
    """A parser of the language whose tables it is given; holds no state of a parse."""

    def __init__(self, tables: Tables) -> None:
        """Prepare the tables."""
        self._tables = tables
        self._lexer = _Lexer(tables)
        self._reductions = [_reduction(rule, number) for number, rule in enumerate(tables.rules)]

    def bind(self, handlers: Mapping[str, Handler]) -> Handlers:
        """Return what `parse` needs of the handlers: a rule's or alias' one makes its value of children and span."""
        return tuple(handlers.get(rule.handler) for rule in self._tables.rules)

    def parse(self, handlers: Handlers, text: str, start: int, end: int) -> Success | Failure:
        """Parse `text[start:end]`."""
        tables, states, reductions = self._tables, self._tables.states, self._reductions
        next_token = self._lexer.next_token
        stack = [tables.start_state]
        values: list[Any] = []
        starts: list[int] = []  # where each value begins; the last one ends with the last token
        tokens: list[Token] = []
        row = states[tables.start_state]
        last = start
        while True:
            token = next_token(text, last, end, row)
            name = token[0]
            while True:
                target = row.get(name)
                if target is None:
                    return Failure(tuple(tokens), token, _acceptable(tables, stack))
                if target >= 0:
                    stack.append(target)
                    values.append(token)
                    starts.append(token[2])
                    tokens.append(token)
                    row, last = states[target], token[3]
                    break
                reduction = reductions[-1 - target]
                if reduction[0] == 1:
                    if reduction[2] == _WRAP:
                        values[-1] = [values[-1]]
                    elif reduction[2] != _KEEP:
                        values[-1] = _value(reduction, handlers, values[-1:], starts[-1], last)
                    stack.pop()
                else:
                    _reduce(reduction, handlers, stack, values, starts, last)
                target = states[stack[-1]][reduction[1]]
                stack.append(target)
                if target == tables.end_state and name == END_OF_TEXT:
                    return Success(values[-1], tuple(tokens))
                row = states[target]


def _reduction(rule: Rule, number: int) -> _Reduction:
    is_one = rule.size == 1 and len(rule.kept) == 1
    is_spliced_child = is_one and rule.kept[0][1]
    if rule.is_spliced:
        kind = (_KEEP if is_spliced_child else _WRAP) if is_one else _SPLICE
    elif rule.passes_single_child and is_one:
        kind = _UNWRAP if is_spliced_child else _KEEP
    else:
        kind = _MAKE
    return _Reduction(rule.size, rule.origin, kind, rule.kept, rule.passes_single_child, number)


def _reduce(
    reduction: _Reduction, handlers: Handlers, stack: list[int], values: list[Any], starts: list[int], last: int
) -> None:
    """Put one value in place of those of a production that has none or several symbols."""
    size = reduction[0]
    if size == 0:
        values.append(_value(reduction, handlers, [], last, last))
        starts.append(last)
        return
    values[-size:] = [_value(reduction, handlers, values[-size:], starts[-size], last)]
    del stack[-size:], starts[1 - size :]


def _value(reduction: _Reduction, handlers: Handlers, children: list[Any], start: int, end: int) -> Any:
    """Return the value of a production: spliced rules give the list of their children, others go to their handler."""
    _, _, kind, kept, passes_single_child, number = reduction
    if kind == _UNWRAP and len(children[0]) == 1:
        return children[0][0]
    found: list[Any] = []
    for index, is_spliced in kept:
        if not is_spliced:
            found.append(children[index])
        elif found:
            found.extend(children[index])
        else:
            found = children[index]  # nobody else holds that list: repetitions stay linear
    if kind == _SPLICE:
        return found
    if passes_single_child and len(found) == 1:
        return found[0]
    handler = handlers[number]
    assert handler is not None
    return handler(found, Span(start, end))


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
        match = _WORD(text, offset, end)
        assert match is not None  # it may be empty
        word, stop = match[1], match.end()
        if word is None:
            return self._other_token(text, stop, end, accepted)
        start = stop - len(word)
        fallback: Token | None = None
        for name, further in self._phrases.get(word, ()):
            if name not in accepted and fallback is not None:
                continue
            last = _end_of_phrase(text, stop, end, further) if further else stop
            if last is not None:
                token = Token(name, text[start:last], start, last)
                if name in accepted:
                    return token
                fallback = token
        if fallback is None or "NAME" in accepted:
            return Token("NAME", word, start, stop)
        return fallback

    def _other_token(self, text: str, place: int, end: int, accepted: Mapping[str, int]) -> Token:
        """Return the token that starts at `place` with something else than a letter."""
        if place >= end:
            return Token(END_OF_TEXT, "", place, place)
        fallback: Token | None = None
        for name in self._starts.get(text[place], ()):
            stop = self._match(name, text, place, end)
            if stop is not None:
                token = Token(name, text[place:stop], place, stop)
                if name in accepted:
                    return token
                fallback = fallback or token
        return fallback or Token(UNKNOWN, text[place], place, place + 1)

    def _match(self, name: str, text: str, place: int, end: int) -> int | None:
        literal = self._literals.get(name)
        if literal is not None:
            return place + len(literal) if text.startswith(literal, place, end) else None
        match = self._patterns[name].match(text, place, end)
        return match.end() if match else None


def _end_of_phrase(text: str, offset: int, end: int, words: tuple[str, ...]) -> int | None:
    for word in words:
        following = _NEXT_WORD(text, offset, end)
        if following is None or following[1] != word:
            return None
        offset = following.end()
    return offset
