"""From patterns to deterministic automata, by the subset construction, and to machines that count occurrences."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Literal, TypeVar

from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.compiler.automata.dfa import Dfa
from bylaw.compiler.automata.nfa import EDGE, Nfa, charsets_of, nfa_of
from bylaw.compiler.automata.partition import DEFAULT_LIMIT, StateLimit, Table, coarsest, quotient_order
from bylaw.compiler.automata.pullback import machine_over_texts, over_texts
from bylaw.spec.charset import CharSet
from bylaw.spec.machine import CountingMachine
from bylaw.spec.normal import Normalised
from bylaw.spec.pattern import Alternate, Chars, Concat, Node, Repeat

__all__ = ["Mode", "charsets_of", "language", "occurrences"]

Mode = Literal["search", "full", "prefix", "suffix"]
State = TypeVar("State", bound=Hashable)
_MOST_DECOMPOSED = 400


def language(node: Node, mode: Mode, alphabet: Alphabet | None = None, limit: int = DEFAULT_LIMIT) -> Dfa:
    """The minimal automaton of the texts that contain, are, start with or end with a match of the pattern.

    It is over `alphabet`, which must tell apart what the pattern does (ValueError), or over the pattern's own coarsest
    alphabet. A `Normalised` pattern is looked for in the plain form of the text. Raises StateLimit past `limit` states
    of the subset construction.
    """
    found = _language(node, mode, limit)
    return found if alphabet is None else found.over(alphabet)


# A state of the subset construction: (set of pattern states, what is known about the character before), or None once
# the text is accepted whatever follows.
_Place = tuple[int, int] | None


@lru_cache(maxsize=512)
def _language(node: Node, mode: Mode, limit: int) -> Dfa:
    if isinstance(node, Normalised):
        return over_texts(_language(node.items[0], mode, limit))
    nfa = nfa_of(node)
    again = nfa.entry if mode in ("search", "suffix") else 0
    early = mode in ("search", "prefix")

    def place(states: int, side: int) -> _Place:
        if early and states & nfa.final:
            return None
        states = nfa.without_dominated(states)
        return states, nfa.relevant(states, side)

    classes = list(zip(nfa.readers, nfa.sides, strict=True))
    sides = set(nfa.sides)

    def row(current: _Place) -> list[_Place]:
        if current is None:
            return [None] * len(classes)
        settled = {side: nfa.settle(*current, side) for side in sides}
        reached: dict[tuple[int, int], _Place] = {}
        targets = []
        for readers, side in classes:
            key = settled[side] & readers, side
            if key not in reached:
                done = early and settled[side] & nfa.final
                reached[key] = None if done else place(nfa.moved(key[0]) | again, side)
            targets.append(reached[key])
        return targets

    def accepts(current: _Place) -> bool:
        return current is None or bool(nfa.settle(*current, EDGE) & nfa.final)

    order, delta = explore_rows(place(nfa.entry, EDGE), row, limit)
    return Dfa(nfa.alphabet, delta, 0, tuple(map(accepts, order))).minimise()


def explore(start: State, step: Callable[[State, int], State], classes: int, limit: int) -> tuple[list[State], Table]:
    """(the states reached from `start`, their transitions by number). Raises StateLimit past `limit` states."""
    return explore_rows(start, lambda state: [step(state, label) for label in range(classes)], limit)


def explore_rows(start: State, row: Callable[[State], Sequence[State]], limit: int) -> tuple[list[State], Table]:
    """The same, where `row` gives the next states for all classes at once."""
    numbers = {start: 0}
    order = [start]
    delta = []
    for state in order:
        targets = row(state)
        for target in dict.fromkeys(targets):
            if target not in numbers:
                if len(order) >= limit:
                    raise StateLimit(limit)
                numbers[target] = len(order)
                order.append(target)
        delta.append(tuple(map(numbers.__getitem__, targets)))
    return order, tuple(delta)


def one_character(charset: CharSet) -> int | None:
    """The length of a character of the set."""
    return 1


def decomposed_length(charset: CharSet) -> int | None:
    """The length of the canonical decomposition of a character of the set; None when it is large or they differ."""
    if len(charset) > _MOST_DECOMPOSED:
        return None
    lengths = {len(unicodedata.normalize("NFD", char)) for char in charset}
    return lengths.pop() if len(lengths) == 1 else None


def fixed_length(node: Node, length_of: Callable[[CharSet], int | None] = one_character) -> int | None:
    """The number of characters in every match of the pattern; None when matches differ in length."""
    match node:
        case Chars(charset):
            return length_of(charset)
        case Concat(items):
            lengths = [fixed_length(item, length_of) for item in items]
            return None if None in lengths else sum(length for length in lengths if length is not None)
        case Alternate(items):
            lengths = list({fixed_length(item, length_of) for item in items})
            return lengths[0] if len(lengths) == 1 else None
        case Repeat(item, least, most):
            length = fixed_length(item, length_of)
            return length * least if length is not None and (least == most or length == 0) else None
        case _:
            return 0


@lru_cache(maxsize=512)
def occurrences(node: Node, limit: int = DEFAULT_LIMIT) -> CountingMachine | None:
    """A machine that counts matches as a left-to-right search does, each starting where the last one ended or later.

    Exact for patterns whose matches all have one length of at least 1 (texts, whole words, alternatives of one length),
    in characters or in the characters of their canonical decompositions, and for a greedy repeat of one character set
    (`[A-Z]+`). For any other pattern the answer is None: which of several overlapping matches a search takes is not a
    property of the language. A `Normalised` pattern is looked for in the plain form of the text. Raises StateLimit past
    `limit` states.
    """
    if isinstance(node, Normalised):
        machine = occurrences(node.items[0], limit)
        return None if machine is None else machine_over_texts(machine)
    if isinstance(node, Repeat) and isinstance(node.item, Chars) and node.least >= 1 and not node.lazy:
        return _runs(node.item, node.least, node.most)
    # One length either way: no match lies inside another, so the first to end is the first to begin.
    if not fixed_length(node) and not fixed_length(node, decomposed_length):
        return None
    nfa = nfa_of(node)
    increments: dict[tuple[tuple[int, int], int], int] = {}

    def step(current: tuple[int, int], label: int) -> tuple[int, int]:
        states, before = current
        side = nfa.sides[label]
        settled = nfa.settle(states, before, side)
        count = 0
        if settled & nfa.final:
            # Matches that began before this one ended would overlap it, so only a fresh start is kept.
            count = 1
            settled = nfa.settle(nfa.entry, before, side)
        states = nfa.read(settled, label) | nfa.entry
        if states & nfa.final:
            count += 1
            states = nfa.entry
        increments[current, label] = count
        # The start is part of every set, so what is known about the character before matters if it asserts anything.
        return states, nfa.relevant(states, side)

    order, delta = explore((nfa.entry, nfa.relevant(nfa.entry, EDGE)), step, nfa.alphabet.size, limit)
    final = tuple(int(bool(nfa.settle(*state, EDGE) & nfa.final)) for state in order)
    counts = tuple(tuple(increments[state, label] for label in range(nfa.alphabet.size)) for state in order)
    return _machine(nfa, delta, counts, final)


def _machine(nfa: Nfa, delta: Table, counts: Table, final: tuple[int, ...]) -> CountingMachine:
    """The smallest counting machine with these tables; the most scattered class becomes its implicit last one."""
    block_of = coarsest(delta, list(zip(counts, final, strict=True)))
    standing, numbers = quotient_order(delta, 0, block_of)
    classes = nfa.alphabet.classes
    labels = sorted(range(len(classes)), key=lambda label: (len(classes[label].ranges), label))
    return CountingMachine(
        classes=tuple(classes[label] for label in labels[:-1]),
        step=tuple(
            tuple((numbers[delta[state][label]], counts[state][label]) for label in labels) for state in standing
        ),
        final=tuple(final[state] for state in standing),
    )


def _runs(item: Chars, least: int, most: int | None) -> CountingMachine:
    """Counts greedy stretches of `least` to `most` characters of a set; state i has read i characters of a stretch."""
    states = least + 1 if most is None else most
    rows = []
    for state in range(states):
        following = state + 1 if state + 1 < states else (state if most is None else 0)
        rows.append(((following, int(state + 1 == least)), (0, 0)))
    return CountingMachine((item.charset,), tuple(rows), (0,) * states)
