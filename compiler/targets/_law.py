"""The law as training needs it: which terms have a weight, and a finite number for a broken hard rule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bylaw.compiler.evaluate import TermScore, Verdict
from bylaw.compiler.program import RewardProgram, RewardTerm, scores_in
from bylaw.compiler.targets.interface import LeftOut
from bylaw.spec.expression import BooleanFact, Expression, Fact, NumberFact
from bylaw.spec.logic import walk

BEYOND_SOFT = 10.0
"""Nats by which a broken hard rule counts more than all soft rules together, where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class WeighedTerm:
    """A term and what one unit of its feature is worth in nats: the law's exponent is the sum of weight * feature."""

    term: RewardTerm
    weight: float

    def feature(self, score: TermScore) -> float | None:
        """What the weight multiplies: the value of the term, less the bound where a limit is about a part of the
        answers. None where the term does not apply, or is unscored."""
        if score.verdict in (Verdict.NOT_APPLICABLE, Verdict.UNSCORED) or score.value is None:
            return None
        return score.value if self.term.among is None else score.value - (self.term.bound or 0.0)

    @property
    def broken(self) -> float:
        """The feature of an answer that counts against a term with `holds`."""
        if self.term.kind != "budget":
            return -1.0
        happened = 0.0 if self.term.sense == "at least" else 1.0
        return happened if self.term.among is None else happened - (self.term.bound or 0.0)

    def untold(self, score: TermScore) -> str | None:
        """Why no reward can be given for this score: it is unscored, or no finite number. None where one can."""
        if score.verdict is Verdict.UNSCORED:
            return score.reason or "it cannot be told"
        feature = self.feature(score)
        return None if feature is None or math.isfinite(feature) else f"its value is {feature}, which is no number"


def weighed(program: RewardProgram, penalty: float) -> tuple[tuple[WeighedTerm, ...], tuple[LeftOut, ...]]:
    """The terms that have a weight, in order, and those that have none yet. `penalty`: nats for a broken hard rule."""
    found: list[WeighedTerm] = []
    without: list[LeftOut] = []
    for term in program.terms:
        if term.kind == "hard":
            found.append(WeighedTerm(term, penalty))
        elif term.kind != "budget":
            found.append(WeighedTerm(term, term.weight or 0.0))
        elif term.each_prompt:
            without.append(LeftOut(f"`{term.id}`", "a limit on each prompt has one multiplier for each of them"))
        elif term.multiplier is None:
            reason = "the limit has no multiplier yet: run `bylaw calibrate` and give --calibration"
            without.append(LeftOut(f"`{term.id}`", reason))
        else:
            found.append(WeighedTerm(term, -term.multiplier + 0.0))
    return tuple(found), tuple(without)


def hard_penalty(program: RewardProgram, given: float | None) -> float:
    """Nats for a broken hard rule: what was given, else 10 more than all `should` rules together."""
    if given is not None:
        return given
    return BEYOND_SOFT + math.fsum(abs(term.weight or 0.0) for term in program.terms if term.kind == "soft")


def log_weight(weighed_terms: Iterable[WeighedTerm], scores: dict[str, TermScore], *, finite: bool = False) -> float:
    """Nats: the sum of the terms' contributions; -inf where a hard rule is broken, unless it has to be finite."""
    total = 0.0
    for each in weighed_terms:
        feature = each.feature(scores[each.term.id])
        if feature is None:
            continue
        if each.term.kind == "hard" and feature < 0.0 and not finite:
            return -math.inf
        total += each.weight * feature
    return total + 0.0


def said_in(term: RewardTerm) -> tuple[Expression, ...]:
    """Everything that is said in a term."""
    said = (each for each in (term.condition, term.among, term.holds, term.value) if each is not None)
    return tuple(part for each in said for part in walk(each))


def facts_read(terms: Iterable[RewardTerm]) -> tuple[str, ...]:
    """The facts of a conversation that terms ask for, in alphabetical order."""
    found = {
        part.path
        for term in terms
        for part in said_in(term)
        if isinstance(part, Fact | NumberFact | BooleanFact) and not part.path.startswith("it.")
    }
    return tuple(sorted(found))


def concepts_read(term: RewardTerm) -> tuple[str, ...]:
    """The concepts whose scores a term hangs on."""
    return tuple(dict.fromkeys(score.concept.name for score in scores_in(term)))
