"""Counting automata: bounds on a count as a language, and values (prices of soft rules) as weighted automata."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import inf, isfinite

from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.compiler.automata.build import explore, explore_rows
from bylaw.compiler.automata.dfa import Dfa, expand
from bylaw.compiler.automata.partition import DEFAULT_LIMIT, Table, coarsest, distances, quotient_order
from bylaw.spec.machine import CountingMachine

Increments = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Valued:
    """A deterministic automaton that gives every text a value.

    The value is the sum of `increments[state][class]` over the characters plus `final[state]` at the end; increments
    are finite, and a final of -inf means that the text breaks a hard rule. `dead`, if any, is the one state from which
    no finite value can be reached.
    """

    alphabet: Alphabet
    delta: Table
    start: int
    increments: Increments
    final: tuple[float, ...]
    dead: int | None = None

    @property
    def size(self) -> int:
        """The number of states."""
        return len(self.delta)

    @cached_property
    def distance(self) -> tuple[int | None, ...]:
        """For each state, the fewest characters to a finite final value; None where there is none."""
        return tuple(distances(self.delta, [isfinite(final) for final in self.final]))

    def value(self, text: str) -> float:
        """The value of a text. Raises ValueError for half of a surrogate pair."""
        state, total = self.start, 0.0
        for label in self.alphabet.indices(text):
            total += self.increments[state][label]
            state = self.delta[state][label]
        return total + self.final[state]

    def over(self, alphabet: Alphabet) -> Valued:
        """The same values over a finer alphabet. Raises ValueError when `alphabet` is not finer."""
        if alphabet == self.alphabet:
            return self
        labels = alphabet.map_to(self.alphabet)
        increments = tuple(tuple(row[label] for label in labels) for row in self.increments)
        return replace(self, alphabet=alphabet, delta=expand(self.delta, labels), increments=increments)


@lru_cache(maxsize=64)
def machine_alphabet(machine: CountingMachine) -> tuple[Alphabet, tuple[int, ...]]:
    """(the coarsest alphabet of a counting machine, the machine's class for each of its classes)."""
    alphabet = Alphabet.of(machine.classes)
    return alphabet, tuple(machine.class_of(char) for char in alphabet.representatives)


def count_between(
    machine: CountingMachine,
    least: int,
    most: int | None,
    alphabet: Alphabet | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Dfa:
    """The minimal automaton of the texts whose count is at least `least` and at most `most` (None: no upper bound).

    It is over `alphabet`, which must refine the machine's classes (ValueError), or over the coarsest one. Raises
    StateLimit past `limit` states.
    """
    own, labels = machine_alphabet(machine)
    rows = [[row[label] for label in labels] for row in machine.step]
    bound = least if most is None else most + 1  # from here on, no further counting can change the verdict
    end = 0, bound

    def row(state: tuple[int, int]) -> list[tuple[int, int]]:
        inside, count = state
        if count >= bound:
            return [end] * own.size
        return [(target, count + more) if count + more < bound else end for target, more in rows[inside]]

    def accepts(state: tuple[int, int]) -> bool:
        if state[1] >= bound:
            return most is None
        count = state[1] + machine.final[state[0]]
        return least <= count and (most is None or count <= most)

    order, delta = explore_rows((0, 0) if bound > 0 else end, row, limit)
    found = Dfa(own, delta, 0, tuple(map(accepts, order))).minimise()
    return found if alphabet is None else found.over(alphabet)


def indicator(dfa: Dfa) -> Valued:
    """Value 1 for texts in the language and 0 for others."""
    return _without_increments(dfa, tuple(map(float, dfa.accept)))


def support(dfa: Dfa) -> Valued:
    """Value 0 for texts in the language and -inf for others: a hard rule."""
    return trim(_without_increments(dfa, tuple(0.0 if verdict else -inf for verdict in dfa.accept)))


def _without_increments(dfa: Dfa, final: tuple[float, ...]) -> Valued:
    return Valued(dfa.alphabet, dfa.delta, dfa.start, ((0.0,) * dfa.alphabet.size,) * dfa.size, final)


def linear(machine: CountingMachine) -> Valued:
    """Value = count."""
    alphabet, labels = machine_alphabet(machine)
    delta = tuple(tuple(row[label][0] for label in labels) for row in machine.step)
    increments = tuple(tuple(float(row[label][1]) for label in labels) for row in machine.step)
    return Valued(alphabet, delta, 0, increments, tuple(map(float, machine.final)))


def saturating(
    machine: CountingMachine,
    function: Callable[[int], float],
    cap: int,
    slope: float = 0.0,
    limit: int = DEFAULT_LIMIT,
) -> Valued:
    """Value = function(count) for counts up to `cap`, and from there on a line with the given slope per count.

    The value is paid out as it changes, so that a decoder feels it at once; sums of the differences agree with
    `function` up to rounding. Raises StateLimit past `limit` states.
    """
    alphabet, labels = machine_alphabet(machine)

    def value(count: int) -> float:
        return function(min(count, cap)) + slope * max(count - cap, 0)

    def step(state: tuple[int, int], label: int) -> tuple[int, int]:
        target, increment = machine.step[state[0]][labels[label]]
        return target, min(state[1] + increment, cap)

    order, delta = explore((0, 0), step, alphabet.size, limit)
    increments = tuple(
        tuple(value(count + machine.step[state][label][1]) - value(count) for label in labels) for state, count in order
    )
    final = tuple(value(0) + value(count + machine.final[state]) - value(count) for state, count in order)
    return minimise(Valued(alphabet, delta, 0, increments, final))


def scale(valued: Valued, factor: float) -> Valued:
    """All finite values times `factor`; what was forbidden stays forbidden, whatever the factor."""
    increments = tuple(tuple(factor * increment for increment in row) for row in valued.increments)
    final = tuple(factor * value if isfinite(value) else value for value in valued.final)
    return replace(valued, increments=increments, final=final)


def add(parts: Sequence[Valued], limit: int = DEFAULT_LIMIT) -> Valued:
    """The sum of the values, over the joint alphabet, trimmed.

    Raises StateLimit past `limit` states, ValueError for no parts.
    """
    if not parts:
        raise ValueError("there is nothing to add")
    joint, _ = Alphabet.join([part.alphabet for part in parts])
    aligned = [part.over(joint) for part in parts]

    def step(states: tuple[int, ...] | None, label: int) -> tuple[int, ...] | None:
        if states is None:
            return None
        reached = tuple(part.delta[state][label] for part, state in zip(aligned, states, strict=True))
        hopeless = any(part.distance[state] is None for part, state in zip(aligned, reached, strict=True))
        return None if hopeless else reached

    begin: tuple[int, ...] | None = tuple(part.start for part in aligned)
    order, delta = explore(begin, step, joint.size, limit)
    increments = tuple(
        (0.0,) * joint.size
        if states is None
        else tuple(
            map(sum, zip(*(part.increments[state] for part, state in zip(aligned, states, strict=True)), strict=True))
        )
        for states in order
    )
    final = tuple(
        -inf if states is None else sum(part.final[state] for part, state in zip(aligned, states, strict=True))
        for states in order
    )
    return trim(Valued(joint, delta, 0, increments, final))


def trim(valued: Valued) -> Valued:
    """The same values without states that no text reaches, and with all hopeless states merged into one, marked `dead`.

    A state is hopeless when no text leads from it to a finite value. Characters that lead there pay nothing.
    """
    numbers: dict[int | None, int] = {}

    def kept(state: int) -> int | None:
        return None if valued.distance[state] is None else state

    order = [kept(valued.start)]
    numbers[order[0]] = 0
    for state in order:
        for target in () if state is None else map(kept, valued.delta[state]):
            if target not in numbers:
                numbers[target] = len(order)
                order.append(target)
    width = valued.alphabet.size
    delta, increments, final = [], [], []
    for number, state in enumerate(order):
        if state is None:
            delta.append((number,) * width)
            increments.append((0.0,) * width)
            final.append(-inf)
            continue
        targets = [kept(target) for target in valued.delta[state]]
        delta.append(tuple(numbers[target] for target in targets))
        paid = zip(targets, valued.increments[state], strict=True)
        increments.append(tuple(0.0 if target is None else increment for target, increment in paid))
        final.append(valued.final[state])
    return Valued(valued.alphabet, tuple(delta), 0, tuple(increments), tuple(final), numbers.get(None))


def remembering(valued: Valued, limit: int = DEFAULT_LIMIT) -> Valued:
    """The same values with states that also know the class of the last character (there is none at the start).

    More states than it takes; whoever counts what follows a state then knows more about it. Raises StateLimit past
    `limit` states.
    """
    start: tuple[int, int | None] = (valued.start, None)

    def step(place: tuple[int, int | None], label: int) -> tuple[int, int | None]:
        target = valued.delta[place[0]][label]
        return target, None if target == valued.dead else label

    order, delta = explore(start, step, valued.alphabet.size, limit)
    return Valued(
        valued.alphabet,
        delta,
        0,
        tuple(valued.increments[state] for state, _ in order),
        tuple(valued.final[state] for state, _ in order),
        next((number for number, (state, _) in enumerate(order) if state == valued.dead), None),
    )


def minimise(valued: Valued) -> Valued:
    """The trimmed automaton with states merged whose finals, increments and successors are equal."""
    whole = trim(valued)
    block_of = coarsest(whole.delta, list(zip(whole.increments, whole.final, strict=True)))
    standing, numbers = quotient_order(whole.delta, 0, block_of)
    return Valued(
        alphabet=whole.alphabet,
        delta=tuple(tuple(numbers[target] for target in whole.delta[state]) for state in standing),
        start=0,
        increments=tuple(whole.increments[state] for state in standing),
        final=tuple(whole.final[state] for state in standing),
        dead=None if whole.dead is None else numbers[whole.dead],
    )
