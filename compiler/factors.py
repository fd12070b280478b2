"""The exponent of the law for one prompt: what automata can carry, and what only a finished text shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from bylaw.compiler.automata.counts import Valued, remembering
from bylaw.compiler.automata.merging import Tables, have_a_text, merge, plus
from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.evaluate import NEGATIVE_INFINITY, evaluate_term
from bylaw.compiler.program import ProgramError, RewardTerm, scores_in
from bylaw.compiler.regular import STATE_LIMIT, valued_of
from bylaw.spec.expression import Holds, Not
from bylaw.spec.trace import Trace

HARD_STATES = 6_000
"""Up to here the hard rules are one automaton, so that no legal beginning can turn out to have no legal end."""
SOFT_STATES = 1_500
"""Up to here soft terms share an automaton; beyond it each further one is a factor of its own."""
SMALL_STATES = 1_000
"""Up to here hard rules and soft terms are one automaton too: the look-ahead of two takes what each of them will ask
for as independent, and is the worse for it (tests/bench/decoding)."""
MEMORY_STATES = 128
"""Up to here an automaton of all rules also remembers the last character: what a model says next depends on it."""
JOINT_STATES = 20_000
"""So many combinations of states are looked at to find a text that obeys hard rules of several automata."""


LONG_LIST = 128
"""Matchers of one automaton; of a longer list several are built and added."""


class Infeasible(ProgramError):
    """No text at all obeys the hard rules: `terms` are their ids."""

    def __init__(self, terms: tuple[str, ...]) -> None:
        names = ", ".join(f"`{term}`" for term in terms)
        super().__init__(f"no text obeys {names}{' together' if len(terms) > 1 else ''}")
        self.terms = terms


@dataclass(frozen=True, slots=True)
class Factors:
    """`groups` add up to the part of the exponent that automata carry (nats; the hard rules come first); `residual`
    are the terms that are weighed on the finished text.

    `members` are the ids of the terms in each group; the first `hard_groups` groups are those with hard rules, which
    may hold small soft terms as well. `joint`: whether
    the hard groups have a text in common, None where no such text was found and none was ruled out. `gets_stuck`:
    whether a beginning that each hard group alone can still complete may have no legal end. Never where they are one
    automaton, and never where every such beginning may also end, as with phrases that must not be contained (a word
    that must not be mentioned is another matter: a text may go on behind it with a letter, but not end there).
    """

    groups: tuple[Valued, ...]
    residual: tuple[RewardTerm, ...]
    members: tuple[tuple[str, ...], ...] = ()
    hard_groups: int = 0
    joint: bool | None = True
    gets_stuck: bool = False

    def residual_reward(self, text: str) -> float:
        """What the residual terms add for a finished response, in nats; see `reward_of`."""
        return reward_of(self.residual, text)

    @property
    def scored(self) -> tuple[RewardTerm, ...]:
        """Those of the residual terms that hang on the score of a concept, which may be dear."""
        return tuple(term for term in self.residual if scores_in(term))

    @property
    def plain(self) -> tuple[RewardTerm, ...]:
        """The residual terms that any text settles by itself."""
        return tuple(term for term in self.residual if not scores_in(term))

    @property
    def blind(self) -> tuple[str, ...]:
        """The ids of hard rules that no automaton carries: look-ahead does not see them coming."""
        return tuple(term.id for term in self.residual if term.kind == "hard")

    def remarks(self) -> tuple[str, ...]:
        """What look-ahead cannot promise for these rules, each as a sentence; nothing for most policies."""
        found = []
        if self.gets_stuck:
            unknown = "" if self.joint else ", and no text that obeys all of them was found"
            found.append(
                f"the hard rules need {self.hard_groups} automata, since one would have more than {HARD_STATES:,} "
                f"states: a response can get stuck between them, which is counted as a dead end{unknown}"
            )
        if self.blind:
            names = ", ".join(f"`{term}`" for term in self.blind)
            found.append(f"{names}: decided on the finished text only, so that look-ahead does not see it")
        return tuple(found)


Merged = tuple[tuple[tuple[str, ...], Tables], ...]
"""Automata with the ids of the terms that are in each."""


@dataclass(frozen=True, slots=True)
class FactorMemory:
    """What `factorise` has built already, for prompts whose residual policies share rules."""

    terms: dict[RewardTerm, tuple[Tables, ...] | None] = field(default_factory=dict)
    hard: dict[tuple[RewardTerm, ...], tuple[Merged, bool | None]] = field(default_factory=dict)
    valued: dict[tuple[RewardTerm, ...], tuple[Valued, ...]] = field(default_factory=dict)

    def tables(self, term: RewardTerm) -> tuple[Tables, ...] | None:
        """Automata that add up to what a term says, None where there are none of a reasonable size."""
        if term not in self.terms:
            self.terms[term] = _tables(term)
        return self.terms[term]


def factorise(terms: Sequence[RewardTerm], memory: FactorMemory | None = None) -> Factors:
    """Builds the automata of specialised terms. Raises Infeasible."""
    memory = memory or FactorMemory()
    hard: list[tuple[RewardTerm, Tables]] = []
    soft: list[tuple[str, Tables]] = []
    residual: list[RewardTerm] = []
    for term in terms:
        tables = memory.tables(term)
        if tables is None:
            residual.append(term)
        elif term.kind == "hard":
            hard += [(term, part) for part in tables]
        else:
            soft += [(term.id, part) for part in tables if not part.is_zero]
    key = tuple(dict.fromkeys(term for term, _ in hard))
    if key not in memory.hard:
        parts = [(term.id, tables) for term, tables in hard]
        merged = merge(parts, HARD_STATES)
        joint = _have_a_text(merged)
        if joint is False:
            raise Infeasible(culprits(parts, lambda rest: _have_a_text(merge(rest, HARD_STATES)) is False))
        memory.hard[key] = merged, joint
        memory.valued[key] = tuple(tables.valued() for _, tables in merged)
    forbidding, joint = memory.hard[key]
    weighing = merge(soft, SOFT_STATES)
    valued = memory.valued[key]
    if len(forbidding) == 1 and weighing:
        forbidding, weighing = _together(forbidding[0], weighing)
        if forbidding[0] is not memory.hard[key][0][0]:
            valued = (forbidding[0][1].valued(),)
    if len(valued) + len(weighing) == 1:
        valued = (_remembering(*valued, *(tables.valued() for _, tables in weighing)),)
        weighing_valued: tuple[Valued, ...] = ()
    else:
        weighing_valued = tuple(tables.valued() for _, tables in weighing)
    places = {term.id: place for place, term in enumerate(terms)}
    return Factors(
        (*valued, *weighing_valued),
        tuple(residual),
        tuple(tuple(sorted(set(names), key=places.__getitem__)) for names, _ in (*forbidding, *weighing)),
        len(forbidding),
        joint,
        len(forbidding) > 1 and not all(tables.may_always_end for _, tables in forbidding),
    )


def _remembering(valued: Valued) -> Valued:
    try:
        return remembering(valued, MEMORY_STATES)
    except StateLimit:
        return valued


def _together(hard: tuple[tuple[str, ...], Tables], soft: Merged) -> tuple[Merged, Merged]:
    """(the automaton of the hard rules with all soft ones that fit in without making it large, the other soft ones)."""
    apart = []
    for names, tables in soft:
        try:
            hard = (*hard[0], *names), plus(hard[1], tables, SMALL_STATES)
        except StateLimit:
            apart.append((names, tables))
    return (hard,), tuple(apart)


def _tables(term: RewardTerm) -> tuple[Tables, ...] | None:
    """A long list of what must not be found is built in parts: one automaton of it takes time that grows with its
    square, and a list that is too long for one is still a hard rule of several."""
    split = _split(term)
    if split is None:
        valued = valued_of(term)
        return None if valued is None else (Tables.of(valued),)
    parts = []
    for part in split:
        valued = valued_of(replace(part, kind="hard"))
        if valued is None:
            return None
        parts.append((term.id, Tables.of(valued)))
    if term.kind == "hard":
        return tuple(tables for _, tables in merge(parts, HARD_STATES))
    whole = merge(parts, STATE_LIMIT)
    return (whole[0][1].penalty(term.weight or 0.0),) if len(whole) == 1 else None


def _split(term: RewardTerm) -> tuple[RewardTerm, ...] | None:
    """The parts of a term that forbids a long list; None for any other term."""
    match term.holds:
        case Not(Holds(quantity="any", argument=None, in_order=False) as found) if term.kind in ("hard", "soft"):
            matchers = found.matchers
            if len(matchers) <= LONG_LIST:
                return None
            lists = [matchers[first : first + LONG_LIST] for first in range(0, len(matchers), LONG_LIST)]
            return tuple(replace(term, holds=Not(replace(found, matchers=part))) for part in lists)
    return None


def _have_a_text(groups: Merged) -> bool | None:
    parts = [tables for _, tables in groups]
    if len(parts) > 1 and all(part.size for part in parts):
        return have_a_text(parts, JOINT_STATES)
    return all(part.size for part in parts)


def culprits(
    parts: Sequence[tuple[str, Tables]], in_conflict: Callable[[Sequence[tuple[str, Tables]]], bool]
) -> tuple[str, ...]:
    """The ids of rules that are in conflict, without those that have no part in it; all of `parts` together are.

    Halves are left out before single rules, so that a conflict of two among hundreds takes few attempts.
    """
    kept = list(parts)
    size = max(1, len(kept) // 2)
    while True:
        for first in range(0, len(kept), size)[::-1]:
            rest = kept[:first] + kept[first + size :]
            if rest and in_conflict(rest):
                kept = rest
        if size == 1:
            return tuple(dict.fromkeys(name for name, _ in kept))
        size //= 2


def reward_of(terms: Sequence[RewardTerm], text: str, before: Trace | None = None) -> float:
    """The exponent of specialised terms for a finished response, in nats, by the reference evaluator.

    A hard rule that cannot be decided counts as broken (-inf); any other undecided term adds nothing. `before` is the
    conversation that it answers, which terms that hang on scores need: it knows whom to ask for them.
    """
    trace = (before or Trace(())).answered(text)
    total = 0.0
    for term in terms:
        score = evaluate_term(term, trace)
        if score.contribution is None:
            total += NEGATIVE_INFINITY if term.kind == "hard" else 0.0
        else:
            total += score.contribution
    return total
