"""Deterministic automata over a symbolic alphabet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.compiler.automata.partition import Table, coarsest, distances, quotient_order, reachable


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
        return replace(self, accept=tuple(not verdict for verdict in self.accept))

    @cached_property
    def distance(self) -> tuple[int | None, ...]:
        """For each state, the length of the shortest text that leads to acceptance; None when there is none."""
        return tuple(distances(self.delta, self.accept))

    def over(self, alphabet: Alphabet) -> Dfa:
        """The same language over a finer alphabet. Raises ValueError when `alphabet` is not finer."""
        if alphabet == self.alphabet:
            return self
        labels = alphabet.map_to(self.alphabet)
        return replace(self, alphabet=alphabet, delta=expand(self.delta, labels))

    def minimise(self) -> Dfa:
        """The smallest automaton of the language; equal languages over one alphabet give equal automata."""
        kept = self.trimmed()
        standing, numbers = quotient_order(kept.delta, kept.start, coarsest(kept.delta, kept.accept))
        delta = tuple(tuple(numbers[target] for target in kept.delta[state]) for state in standing)
        return Dfa(self.alphabet, delta, 0, tuple(kept.accept[state] for state in standing))

    def trimmed(self) -> Dfa:
        """The automaton without the states that no text reaches."""
        order = reachable(self.delta, self.start)
        numbers = {state: number for number, state in enumerate(order)}
        delta = tuple(tuple(numbers[target] for target in self.delta[state]) for state in order)
        return Dfa(self.alphabet, delta, 0, tuple(self.accept[state] for state in order))


def expand(delta: Table, labels: tuple[int, ...]) -> Table:
    """The table over a finer alphabet, whose class c lies inside the old class `labels[c]`."""
    return tuple(tuple(row[label] for label in labels) for row in delta)
