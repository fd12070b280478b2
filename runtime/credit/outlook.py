"""The best that can still become of a begun response: what each rule has cost for good after every token.

    Φ_j(h) = max over all texts y that begin with h of what rule j adds to the exponent of y (nats)

It is 0 while a rule can still be kept, falls where it is broken for good, and equals the rule's own part of the reward
once the text is finished. It comes from the rule's automaton, over all texts, not only those that the tokens left can
spell. Where there is no automaton, or Φ would be infinite (a quantity that may grow for ever and is wanted), the value
of the text so far takes its place: any function of the prefix does, see `tokens`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.automata.merging import Tables
from bylaw.compiler.evaluate import evaluate_term
from bylaw.compiler.factors import FactorMemory
from bylaw.compiler.program import ProgramError, RewardProgram, RewardTerm, scores_in
from bylaw.compiler.specialise import reads_only_response, specialise
from bylaw.runtime.credit.spelling import Prefix, first_characters
from bylaw.spec.trace import Trace

FloatArray = NDArray[np.float64]
LARGEST = 20_000_000
"""Most cells that are gone over in looking for the best end of an automaton with payments on its way."""


@dataclass(frozen=True, eq=False)
class Machine:
    """An automaton with `best` [Q + 1]: the most that a text can still bring from each state, −inf in the last entry,
    which stands for states that lead to no allowed text. `bounded` False: `best` is 0, the true one is infinite."""

    tables: Tables
    best: FloatArray
    bounded: bool

    @staticmethod
    def of(tables: Tables) -> Machine:
        best = _best(tables)
        if best is not None:
            return Machine(tables, best, True)
        return Machine(tables, np.append(np.zeros(tables.size), -inf), False)

    def follow(self, prefixes: Sequence[Prefix]) -> FloatArray:
        """[T] Φ after each prefix, each of which begins with the one before; −inf from where it is no text."""
        found = np.full(len(prefixes), -inf)
        state, paid, read = 0 if self.tables.size else -1, 0.0, 0
        for place, prefix in enumerate(prefixes):
            if prefix.text is None:
                break
            for label in self.tables.alphabet.indices(prefix.text[read:]) if state >= 0 else ():
                state, paid = self._step(state, paid, label)
                if state < 0:
                    break
            read = len(prefix.text)
            if state < 0:
                break
            found[place] = paid + self.best[state]
            if prefix.pending and self.bounded:
                ahead = (self._step(state, paid, label) for label in _classes(self.tables, prefix.pending))
                found[place] = max(more + self.best[target] for target, more in ahead)
        return found

    def _step(self, state: int, paid: float, label: int) -> tuple[int, float]:
        increments = self.tables.increments
        more = 0.0 if increments is None else float(increments[state, label])
        return int(self.tables.delta[state, label]), paid + more


def _classes(tables: Tables, pending: bytes) -> set[int]:
    """The classes of the characters that can still come of these bytes."""
    alphabet = tables.alphabet
    first, last = map(alphabet.stretch, first_characters(pending))
    return set(alphabet.labels[first : last + 1])


def _best(tables: Tables) -> FloatArray | None:
    """[Q + 1] the most that a text can bring from each state, by relaxation (Bellman 1958); None: infinite, or too many
    rounds of it."""
    delta, paid = tables.delta, tables.increments
    if paid is None and not tables.final[np.isfinite(tables.final)].any():
        return np.append(np.zeros(tables.size), -inf)  # a hard rule: every state that is kept leads to an allowed text
    found = np.append(tables.final, -inf)
    rounds = min(tables.size + 1, max(2, LARGEST // max(1, delta.size))) if paid is not None else tables.size + 1
    for _ in range(rounds):
        ahead = found[delta] if paid is None else found[delta] + paid
        better = np.maximum(found[:-1], ahead.max(axis=1, initial=-inf))
        if np.array_equal(better, found[:-1]):
            return found
        found[:-1] = better
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """`ahead` [T] times `scale`: Φ before each token, nats. `is_best`: whether that is the best that can become of it;
    `ahead` is then that of the rule at weight or multiplier ±1, and tells even where these are 0 or not known."""

    ahead: FloatArray
    scale: float
    is_best: bool

    @property
    def values(self) -> FloatArray:
        """[T] Φ before each token, nats."""
        return self.ahead if self.scale == 1 else self.ahead * self.scale


@dataclass(frozen=True, slots=True)
class Outlooks:
    """Makes machines and keeps them. A rule's weight or multiplier may change: only its sign makes another machine."""

    memory: FactorMemory = field(default_factory=FactorMemory)
    machines: dict[RewardTerm, tuple[Machine, ...] | None] = field(default_factory=dict)

    def of(self, term: RewardTerm, before: Trace) -> tuple[Machine, ...] | None:
        """Machines of the term at weight or multiplier ±1, which add up; None where there are none of a reasonable
        size. `before`: the conversation that is answered, for terms that are not specialised yet."""
        whole = _unit(term)
        said = (term.condition, term.among, term.holds, term.value)
        if not all(reads_only_response(part) for part in said if part is not None):
            try:
                alive = specialise(RewardProgram("", "", (), (whole,)), before)
            except ProgramError:
                return None
            if not alive:
                return None
            whole = alive[0]
        if whole not in self.machines:
            parts = self.memory.tables(whole)
            self.machines[whole] = None if parts is None else tuple(map(Machine.of, parts))
        return self.machines[whole]

    def after(self, term: RewardTerm, before: Trace, prefixes: Sequence[Prefix], evaluate_prefixes: bool) -> Outlook:
        """Φ after each prefix.

        Without an automaton it is the rule's part of each prefix as if it were finished, where `evaluate_prefixes` says
        so and nobody has to be asked for a score; 0 elsewhere.
        """
        machines = self.of(term, before)
        if machines is not None:
            total = np.sum([machine.follow(prefixes) for machine in machines], axis=0)
            if term.kind == "hard":
                return Outlook(total, 1.0, True)
            well_formed = sum(prefix.text is not None for prefix in prefixes)
            total[well_formed:] = total[well_formed - 1] if well_formed else 0.0
            return Outlook(total, _strength(term), all(machine.bounded for machine in machines))
        found = np.zeros(len(prefixes))
        if term.kind == "hard" or not evaluate_prefixes or scores_in(term):
            return Outlook(found, 1.0, False)
        known = 0.0
        for place, prefix in enumerate(prefixes):
            if prefix.text is not None:
                told = evaluate_term(term, before.answered(prefix.text)).contribution
                known = known if told is None else told
            found[place] = known
        return Outlook(found, 1.0, False)


def _strength(term: RewardTerm) -> float:
    return abs((term.multiplier if term.kind == "budget" else term.weight) or 0.0)


def sign_of(term: RewardTerm) -> float:
    """1 or −1: the sign of a term's weight or multiplier, or what it will be where that is 0 or not known yet."""
    if term.kind != "budget":
        return float(np.copysign(1.0, term.weight or 1.0))
    return float(np.copysign(1.0, term.multiplier or (-1.0 if term.sense == "at least" else 1.0)))


def _unit(term: RewardTerm) -> RewardTerm:
    if term.kind == "hard":
        return term
    return replace(term, multiplier=sign_of(term)) if term.kind == "budget" else replace(term, weight=sign_of(term))
