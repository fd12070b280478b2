"""The exponent of the law for one prompt: what automata can carry, and what only a finished text shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bylaw.compiler.automata.counts import Valued, add
from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.evaluate import NEGATIVE_INFINITY, evaluate_term
from bylaw.compiler.program import ProgramError, RewardTerm
from bylaw.compiler.regular import valued_of
from bylaw.spec.trace import Trace

HARD_STATES = 6_000
"""Up to here the hard rules are one automaton, so that no legal beginning can turn out to have no legal end."""
SOFT_STATES = 1_500
"""Up to here soft terms share an automaton; beyond it each further one is a factor of its own."""


class Infeasible(ProgramError):
    """No text at all obeys the hard rules: `terms` are their ids."""

    def __init__(self, terms: tuple[str, ...]) -> None:
        super().__init__(f"no text obeys {', '.join(f'`{term}`' for term in terms)} together")
        self.terms = terms


@dataclass(frozen=True, slots=True)
class Factors:
    """`groups` add up to the part of the exponent that automata carry (nats; the hard rules come first); `residual`
    are the terms that are weighed on the finished text."""

    groups: tuple[Valued, ...]
    residual: tuple[RewardTerm, ...]

    def residual_reward(self, text: str) -> float:
        """What the residual terms add for a finished response, in nats; see `reward_of`."""
        return reward_of(self.residual, text)


def factorise(terms: Sequence[RewardTerm]) -> Factors:
    """Builds the automata of specialised terms. Raises Infeasible."""
    hard: list[tuple[RewardTerm, Valued]] = []
    soft: list[Valued] = []
    residual: list[RewardTerm] = []
    for term in terms:
        valued = valued_of(term)
        if valued is None:
            residual.append(term)
        elif term.kind == "hard":
            hard.append((term, valued))
        elif any(v != 0.0 for row in valued.increments for v in row) or any(v != 0.0 for v in valued.final):
            soft.append(valued)
    groups = _merge([valued for _, valued in hard], HARD_STATES)
    if _hopeless(groups):
        raise Infeasible(_culprits(hard))
    return Factors((*groups, *_merge(sorted(soft, key=lambda valued: valued.size), SOFT_STATES)), tuple(residual))


def _hopeless(groups: Sequence[Valued]) -> bool:
    return any(group.distance[group.start] is None for group in groups)


def _culprits(hard: Sequence[tuple[RewardTerm, Valued]]) -> tuple[str, ...]:
    """The ids of hard rules that conflict, without those that have no part in it."""
    kept = list(hard)
    for candidate in hard:
        rest = [each for each in kept if each is not candidate]
        if _hopeless(_merge([valued for _, valued in rest], HARD_STATES)):
            kept = rest
    return tuple(term.id for term, _ in kept)


def _merge(parts: Sequence[Valued], limit: int) -> list[Valued]:
    """Adds automata together as long as the sum stays within `limit` states."""
    merged: list[Valued] = []
    for part in parts:
        for position, group in enumerate(merged):
            try:
                merged[position] = add((group, part), limit)
                break
            except StateLimit:
                continue
        else:
            merged.append(part)
    return merged


def reward_of(terms: Sequence[RewardTerm], text: str) -> float:
    """The exponent of specialised terms for a finished response, in nats, by the reference evaluator.

    A hard rule that cannot be decided counts as broken (-inf); any other undecided term adds nothing.
    """
    trace = Trace(()).answered(text)
    total = 0.0
    for term in terms:
        score = evaluate_term(term, trace)
        if score.contribution is None:
            total += NEGATIVE_INFINITY if term.kind == "hard" else 0.0
        else:
            total += score.contribution
    return total
