"""Products of counting machines: the largest value that a sum of counts has in any text, exactly.

Counting machines read a text together; the sum of what they count, each with its factor, is the weight of a path in
their product. Its greatest value is a longest path (Bellman-Ford, with the queue of Moore 1959), and there is none
where a cycle gains. So `words - 4 * characters <= 0` is decided for all texts, not tried on some.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.compiler.automata.counts import machine_alphabet
from bylaw.compiler.automata.dfa import Dfa
from bylaw.compiler.automata.partition import StateLimit
from bylaw.spec.machine import CountingMachine

MOST_STATES = 20_000
LAST_ASCII = 0x7F
Term = tuple[int, CountingMachine]
"""A factor, and what it is a factor of."""
States = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Product:
    """`edges[state]` are (next state, weight, a character that leads there), `ends` what the end of the text adds."""

    edges: list[list[tuple[int, int, str]]]
    ends: list[int]


def greatest(terms: Sequence[Term], *, is_ascii: bool = False, most_states: int = MOST_STATES) -> int | None:
    """The greatest value of the sum of factor * count over all texts, or those of ASCII; None where it has no bound.

    Raises StateLimit past `most_states` states of the product.
    """
    return _longest(_product(terms, is_ascii, most_states))


def gains(terms: Sequence[Term], *, is_ascii: bool = False, most_states: int = MOST_STATES) -> str | None:
    """A text whose repetition makes the sum as large as one likes, or None where it has a greatest value."""
    return _cycle(_product(terms, is_ascii, most_states))


def never_without(counted: CountingMachine, other: CountingMachine) -> bool:
    """Whether every text with one of the first has one of the other too."""
    labels = set(_columns(((1, counted), (1, other)), False)[1].values())
    seen, waiting = {(0, 0, False)}, [(0, 0, False)]
    while waiting:
        one, two, has = waiting.pop()
        if not other.final[two] and (has or counted.final[one]):
            return False
        for own, its in labels:
            if not other.step[two][its][1]:
                target = (counted.step[one][own][0], other.step[two][its][0], has or counted.step[one][own][1] > 0)
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
    return True


def fewest(language: Dfa, machine: CountingMachine, *, most_states: int = MOST_STATES) -> int | None:
    """The smallest count of a text that the automaton accepts; None where it accepts none. Raises StateLimit."""
    accepting = CountingMachine(
        language.alphabet.classes[:-1],
        tuple(tuple((target, 0) for target in row) for row in language.delta),
        tuple(int(accepts) for accepts in language.accept),
    )
    if language.start != 0:
        raise ValueError("a minimal automaton starts in state 0")
    order, edges = _explored(((1, accepting), (-1, machine)), False, most_states)
    best: dict[int, int] = {0: 0}
    waiting = deque([0])
    while waiting:
        state = waiting.popleft()
        for target, weight, _ in edges[state]:
            reached = best[state] + weight
            if target not in best or reached > best[target]:
                best[target] = reached
                waiting.append(target)
    ends = (best[state] - machine.final[own[1]] for state, own in enumerate(order) if accepting.final[own[0]])
    return min((-end for end in ends), default=None)


def _product(terms: Sequence[Term], is_ascii: bool, most_states: int) -> _Product:
    order, edges = _explored(terms, is_ascii, most_states)
    ends = [
        sum(factor * machine.final[own] for (factor, machine), own in zip(terms, states, strict=True))
        for states in order
    ]
    return _Product(edges, ends)


def _columns(terms: Sequence[Term], is_ascii: bool) -> tuple[Alphabet, dict[int, tuple[int, ...]]]:
    """(the joint alphabet, for one class of each kind the class of every machine)."""
    own = [_alphabet(machine) for _, machine in terms]
    joint, maps = Alphabet.join([alphabet for alphabet, _ in own])
    found: dict[tuple[int, ...], int] = {}
    for label in range(joint.size):
        if is_ascii and joint.classes[label].ranges[0][0] > LAST_ASCII:
            continue
        classes = tuple(labels[to[label]] for to, (_, labels) in zip(maps, own, strict=True))
        found.setdefault(classes, label)
    return joint, {label: classes for classes, label in found.items()}


@lru_cache(maxsize=256)
def _alphabet(machine: CountingMachine) -> tuple[Alphabet, tuple[int, ...]]:
    return machine_alphabet(machine)


def _explored(
    terms: Sequence[Term], is_ascii: bool, most_states: int
) -> tuple[list[States], list[list[tuple[int, int, str]]]]:
    joint, labels = _columns(terms, is_ascii)
    order: list[States] = [(0,) * len(terms)]
    numbers = {order[0]: 0}
    edges: list[list[tuple[int, int, str]]] = []
    for states in order:
        best: dict[int, tuple[int, str]] = {}
        for label, classes in labels.items():
            steps = [machine.step[s][c] for (_, machine), s, c in zip(terms, states, classes, strict=True)]
            target = tuple(to for to, _ in steps)
            weight = sum(factor * count for (factor, _), (_, count) in zip(terms, steps, strict=True))
            if target not in numbers:
                if len(order) >= most_states:
                    raise StateLimit(most_states)
                numbers[target] = len(order)
                order.append(target)
            number = numbers[target]
            if number not in best or best[number][0] < weight:
                best[number] = (weight, joint.representatives[label])
        edges.append([(target, weight, char) for target, (weight, char) in best.items()])
    return order, edges


def _longest(product: _Product) -> int | None:
    found = _paths(product)
    return None if found is None else max(far + end for (far, _), end in zip(found, product.ends, strict=True))


def _paths(product: _Product) -> list[tuple[int, int]] | None:
    """For each state (weight of the heaviest path from the start, its length); None where a cycle gains."""
    states = len(product.edges)
    far: list[tuple[int, int] | None] = [None] * states
    far[0] = (0, 0)
    waiting, queued = deque([0]), [False] * states
    while waiting:
        state = waiting.popleft()
        queued[state] = False
        known = far[state]
        assert known is not None
        for target, weight, _ in product.edges[state]:
            so_far = far[target]
            if so_far is None or known[0] + weight > so_far[0]:
                far[target] = (known[0] + weight, known[1] + 1)
                if known[1] >= states:
                    return None
                if not queued[target]:
                    queued[target] = True
                    waiting.append(target)
    return [each for each in far if each is not None]


def _cycle(product: _Product) -> str | None:
    """The characters of a cycle that gains, from a state where the heaviest paths do not end."""
    states = len(product.edges)
    far, before = [0] * states, [(-1, "")] * states
    last = -1
    for _ in range(states + 1):
        last = -1
        for state, row in enumerate(product.edges):
            for target, weight, char in row:
                if far[state] + weight > far[target]:
                    far[target], before[target], last = far[state] + weight, (state, char), target
        if last < 0:
            return None
    for _ in range(states):
        last = before[last][0]
    spelt, state = "", last
    while True:
        state, char = before[state]
        spelt = char + spelt
        if state == last:
            return spelt
