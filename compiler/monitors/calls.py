"""The calls of a tool: what their arguments can say, one by one and together.

The text of a call is the values of its arguments, one to a line. So what is said of the text and what is said of the
arguments depend on each other: a call one of whose arguments contains a word contains it.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.compiler.automata.dfa import Dfa
from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.monitors.texts import (
    SEARCH_LIMIT,
    UNKNOWN,
    NotDecided,
    Pattern,
    Values,
    answers_to,
    exactly,
    text_patterns,
    value_patterns,
)
from bylaw.compiler.situation import IT
from bylaw.spec.expression import BooleanExpression
from bylaw.spec.trace import FactValue, tool_call, written

MOST_SHAPES = 600
MOST_EXAMPLES = 3
"""Values of one argument that are tried together with those of others, before automata are asked."""
Arguments = tuple[tuple[str, FactValue], ...]
Questions = tuple[BooleanExpression, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One combination of answers of the text of a call and of its named arguments, with arguments that have them; None
    where it is only not known to be impossible."""

    text: Values
    named: tuple[Values, ...]
    arguments: Arguments | None


@dataclass(frozen=True, slots=True)
class Calls:
    """All combinations that are possible. `is_exact` says that each has arguments."""

    items: tuple[Call, ...]

    @property
    def is_exact(self) -> bool:
        return all(call.arguments is not None for call in self.items)


@lru_cache(maxsize=256)
def calls_of(texts: Questions, named: tuple[tuple[str, Questions], ...], is_thorough: bool = True) -> Calls:
    """The combinations of answers to questions about the text of a call (said of the response) and about arguments
    (`it.NAME`, and what is asked of it). Raises NotDecided. Unless `is_thorough`, no automata are built."""
    names = tuple(path.removeprefix(IT) for path, _ in named)
    slots = [value_patterns(path, questions, is_thorough).items for path, questions in named]
    shapes = 1
    for slot in slots:
        shapes *= len(slot) + 1
    contents = text_patterns(texts, is_thorough).items
    if shapes * len(contents) > MOST_SHAPES:
        raise NotDecided("the rules tell too many different calls apart")
    if not texts:
        return Calls(tuple(_apart(names, chosen) for chosen in itertools.product(*slots)))
    if not slots:
        free = next(free_names(()))
        return Calls(tuple(Call(each.values, (), _alone(each, free)) for each in contents))
    return Calls(tuple(_Joint(texts, names, tuple(slots), contents, is_thorough).calls()))


def _apart(names: tuple[str, ...], chosen: tuple[Pattern, ...]) -> Call:
    """Where nothing is asked of the whole text, each argument is chosen by itself. None is left out: what is not
    there answers no question, so it makes nothing true."""
    values = tuple(each.values for each in chosen)
    if not all(each.examples for each in chosen):
        return Call((), values, None)
    return Call((), values, tuple((name, each.examples[0]) for name, each in zip(names, chosen, strict=True)))


def _alone(content: Pattern, name: str) -> Arguments | None:
    """Where nothing is asked of arguments, one of them has the whole text."""
    if not content.examples:
        return None
    return ((name, content.examples[0]),) if content.examples[0] != "" else ()


@dataclass(frozen=True, slots=True)
class _Joint:
    """Calls of which something is asked both of the text and of arguments. `found` are those that are known: (answers
    of the text, answers of each argument) -> arguments."""

    texts: Questions
    names: tuple[str, ...]
    slots: tuple[tuple[Pattern, ...], ...]
    contents: tuple[Pattern, ...]
    is_thorough: bool
    found: dict[tuple[Values, ...], Arguments] = field(default_factory=dict)

    def calls(self) -> Iterator[Call]:
        for chosen in itertools.product(*self.slots):
            self._try_out(chosen)
        for some in itertools.product(*((*slot, None) for slot in self.slots)):
            for content in self.contents:
                yield from self._decided(content, some)

    def _try_out(self, chosen: tuple[Pattern, ...]) -> None:
        """Notes which answers a few calls with these arguments have, by themselves and with one argument more."""
        free = next(free_names(self.names))
        texts = [str(each.examples[0]) for each in self.contents if each.examples]
        more: list[Arguments] = [(), *(((free, text),) for text in texts)]
        for values in itertools.product(*(each.examples[:MOST_EXAMPLES] for each in chosen)):
            for extra in more:
                arguments = (*zip(self.names, values, strict=True), *extra)
                key = (self._answers(arguments), *(each.values for each in chosen))
                if key not in self.found or len(arguments) < len(self.found[key]):
                    self.found[key] = arguments

    def _answers(self, arguments: Arguments) -> Values:
        return answers_to(self.texts, tool_call("tool", dict(arguments)).content)

    def _decided(self, content: Pattern, some: tuple[Pattern | None, ...]) -> Iterator[Call]:
        """The call whose text and arguments have these answers, if it is possible; None is an argument left out."""
        named = tuple(
            (UNKNOWN,) * len(slot[0].values) if each is None else each.values
            for slot, each in zip(self.slots, some, strict=True)
        )
        key = (content.values, *named)
        if None in some and any(self._leaves_less_unknown(other, key) for other in self.found):
            return
        if key not in self.found and self.is_thorough:
            try:
                arguments = self._searched(content, some, is_certain=True)
            except StateLimit:
                arguments = None
            if arguments is not None and self._answers(arguments) == content.values:
                self.found[key] = arguments
        if key in self.found:
            yield Call(content.values, named, self.found[key])
        elif not self._is_impossible(content, some):
            yield Call(content.values, named, None)

    @staticmethod
    def _leaves_less_unknown(other: tuple[Values, ...], key: tuple[Values, ...]) -> bool:
        return other[0] == key[0] and all(
            one in (UNKNOWN, two)
            for own, others in zip(key[1:], other[1:], strict=True)
            for one, two in zip(own, others, strict=True)
        )

    def _is_impossible(self, content: Pattern, some: tuple[Pattern | None, ...]) -> bool:
        try:
            return self.is_thorough and self._searched(content, some, is_certain=False) is None
        except StateLimit:
            return False

    def _searched(self, content: Pattern, some: tuple[Pattern | None, ...], is_certain: bool) -> Arguments | None:
        """Arguments that the automata of all parts accept: with `is_certain` only such as have these answers, else all
        that may have them. Raises StateLimit."""
        parts = {name: each for name, each in zip(self.names, some, strict=True) if each is not None}
        absent = [name for name in self.names if name not in parts]
        arguments = arguments_with(
            _languages(content, is_certain), {n: _languages(each, is_certain) for n, each in parts.items()}, absent
        )
        if arguments is None:
            return None
        values = {name: {written(example): example for example in each.examples} for name, each in parts.items()}
        return tuple((name, values.get(name, {}).get(str(text), text)) for name, text in arguments)


def _languages(pattern: Pattern, is_certain: bool) -> tuple[Dfa, ...]:
    """Automata that accept every value with these answers, or, with `is_certain`, only such values."""
    if pattern.is_tight or not is_certain:
        return pattern.languages
    return (exactly(tuple(map(written, pattern.examples))),)


# ----------------------------------------------------------------------------------------------------- whole calls


def arguments_with(
    content: Sequence[Dfa],
    named: Mapping[str, Sequence[Dfa]],
    absent: Collection[str] = (),
    limit: int = SEARCH_LIMIT,
) -> Arguments | None:
    """Arguments of a call whose values, one to a line, all automata of `content` accept: the named ones, each accepted
    by its own automata, in any order, and others whose names are not among `absent`. The fewest characters; None is a
    proof that there are none.

    Raises StateLimit past `limit` combinations of states.
    """
    names = tuple(named)
    alphabet, _ = Alphabet.join([dfa.alphabet for dfa in (*content, *itertools.chain(*named.values()))] or [_PLAIN])
    whole = [dfa.over(alphabet) for dfa in content]
    own: dict[str | None, list[Dfa]] = {name: [dfa.over(alphabet) for dfa in named[name]] for name in names}
    own[None] = []  # an argument that no rule names
    # The states: of the content, what has been begun, what is being written, and its own states.
    start = tuple(dfa.start for dfa in whole)
    waiting: deque[_Place] = deque()
    before: dict[_Place, tuple[_Place, str] | None] = {}

    def begin(states: tuple[int, ...], begun: frozenset[str], source: tuple[_Place, str] | None) -> None:
        for name in (*(name for name in names if name not in begun), None):
            begins = begun if name is None else begun | {name}
            meet((states, begins, name, tuple(dfa.start for dfa in own[name])), source)

    def meet(place: _Place, source: tuple[_Place, str] | None) -> None:
        if place not in before:
            if len(before) > limit:
                raise StateLimit(limit)
            before[place] = source
            waiting.append(place)

    if not names and _accepts(whole, start):
        return ()
    begin(start, frozenset(), None)
    chars = [(label, char) for label, char in enumerate(alphabet.representatives)]
    line_break = alphabet.index("\n")
    while waiting:
        place = waiting.popleft()
        states, begun, name, inside = place
        is_whole = _accepts(own[name], inside)
        if is_whole and len(begun) == len(names) and _accepts(whole, states):
            return _arguments(before, place, absent)
        if is_whole:
            begin(_step(whole, states, line_break), begun, (place, _NEXT))
        for label, char in chars:
            after, further = _step(whole, states, label), _step(own[name], inside, label)
            if _is_hopeful(whole, after) and _is_hopeful(own[name], further):
                meet((after, begun, name, further), (place, char))
    return None


_Place = tuple[tuple[int, ...], frozenset[str], str | None, tuple[int, ...]]
_NEXT = "next argument"
_PLAIN = Alphabet.of(())


def _step(dfas: Sequence[Dfa], states: tuple[int, ...], label: int) -> tuple[int, ...]:
    return tuple(dfa.delta[state][label] for dfa, state in zip(dfas, states, strict=True))


def _accepts(dfas: Sequence[Dfa], states: tuple[int, ...]) -> bool:
    return all(dfa.accept[state] for dfa, state in zip(dfas, states, strict=True))


def _is_hopeful(dfas: Sequence[Dfa], states: tuple[int, ...]) -> bool:
    return all(dfa.distance[state] is not None for dfa, state in zip(dfas, states, strict=True))


def _arguments(before: Mapping[_Place, tuple[_Place, str] | None], place: _Place, absent: Collection[str]) -> Arguments:
    """The arguments that were written on the way to `place`."""
    blocks: list[tuple[str | None, str]] = []
    text = ""
    while True:
        source = before[place]
        if source is None or source[1] == _NEXT:
            blocks.append((place[2], text))
            text = ""
            if source is None:
                break
        else:
            text = source[1] + text
        place = source[0]
    blocks.reverse()
    free = free_names({*absent, *(name for name, _ in blocks if name is not None)})
    return tuple((next(free) if name is None else name, value) for name, value in blocks)


def free_names(taken: Collection[str]) -> Iterator[str]:
    """Names for arguments that no rule names: `text`, `text2`, ..."""
    return (name for number in itertools.count(1) if (name := f"text{number if number > 1 else ''}") not in taken)
