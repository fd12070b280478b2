"""Deterministic automata over a symbolic alphabet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.compiler.automata.partition import Table, cheapest, coarsest, distances, quotient_order, reachable


@dataclass(frozen=True)
class Dfa:
    """A complete deterministic automaton: `delta[state][class]` is the next state, `accept[state]` its verdict."""

    alphabet: Alphabet
    delta: Table
    start: int
    accept: tuple[bool, ...]

    @staticmethod
    def constant(alphabet: Alphabet, verdict: bool) -> Dfa:
        """The automaton that accepts every text, or none."""
        return Dfa(alphabet, ((0,) * alphabet.size,), 0, (verdict,))

    @property
    def size(self) -> int:
        """The number of states."""
        return len(self.delta)

    def run(self, text: str) -> int:
        """The state after reading `text`. Raises ValueError for half of a surrogate pair."""
        state = self.start
        for label in self.alphabet.indices(text):
            state = self.delta[state][label]
        return state

    def accepts(self, text: str) -> bool:
        """Whether the text is in the language. Raises ValueError for half of a surrogate pair."""
        return self.accept[self.run(text)]

    def complement(self) -> Dfa:
        """The automaton of exactly the texts that this one rejects."""
        return self._opposite

    @cached_property
    def _opposite(self) -> Dfa:
        return replace(self, accept=tuple(not verdict for verdict in self.accept))

    @cached_property
    def distance(self) -> tuple[int | None, ...]:
        """For each state, the length of the shortest text that leads to acceptance; None when there is none."""
        return tuple(distances(self.delta, self.accept))

    def left(self, costs: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The same, where a character of each class has its own cost, or must not be used (None)."""
        if all(cost == 1 for cost in costs):
            return self.distance
        if costs not in self._left:
            self._left[costs] = tuple(cheapest(self.delta, self.accept, costs))
        return self._left[costs]

    @cached_property
    def _left(self) -> dict[tuple[int | None, ...], tuple[int | None, ...]]:
        return {}

    def over(self, alphabet: Alphabet) -> Dfa:
        """The same language over a finer alphabet. Raises ValueError when `alphabet` is not finer."""
        if alphabet == self.alphabet:
            return self
        labels = alphabet.map_to(self.alphabet)
        return replace(self, alphabet=alphabet, delta=expand(self.delta, labels))

    def minimise(self) -> Dfa:
        """The smallest automaton of the language over the coarsest alphabet that it needs.

        Equal languages give equal automata.
        """
        kept = self.trimmed()
        # States at different distances to acceptance are different; distance 0 is acceptance.
        return kept._quotient(coarsest(kept.delta, kept.distance))

    def canonical(self) -> Dfa:
        """The same as `minimise`, for an automaton that has no two states with the same language, all of them reached.

        Only the classes are made fewer, and the states are put in order.
        """
        return self._quotient(range(self.size))

    def _quotient(self, block_of: Sequence[int]) -> Dfa:
        standing, numbers = quotient_order(self.delta, self.start, block_of)
        delta = tuple(tuple(map(numbers.__getitem__, self.delta[state])) for state in standing)
        return Dfa(self.alphabet, delta, 0, tuple(self.accept[state] for state in standing))._with_fewest_classes()

    def _with_fewest_classes(self) -> Dfa:
        columns = list(zip(*self.delta, strict=True))
        numbers = {column: number for number, column in enumerate(dict.fromkeys(columns))}
        if len(numbers) == len(columns):
            return self
        alphabet = self.alphabet.merged([numbers[column] for column in columns])
        return replace(self, alphabet=alphabet, delta=tuple(zip(*numbers, strict=True)))

    def trimmed(self) -> Dfa:
        """The automaton without the states that no text reaches."""
        order = reachable(self.delta, self.start)
        if order == list(range(self.size)):
            return self
        numbers = {state: number for number, state in enumerate(order)}
        delta = tuple(tuple(numbers[target] for target in self.delta[state]) for state in order)
        return Dfa(self.alphabet, delta, 0, tuple(self.accept[state] for state in order))


def expand(delta: Table, labels: tuple[int, ...]) -> Table:
    """The table over a finer alphabet, whose class c lies inside the old class `labels[c]`."""
    return tuple(tuple(row[label] for label in labels) for row in delta)
