"""What judgements say about weights: each answer's features under a policy, and the pairs that tell weights apart.

A feature is what a weight multiplies in the law: −1 where the rule of a `should` is broken and 0 where it is kept or
does not apply; for `prefer` the quantity, with the sign that makes more of it better. So every weight is 0 or more, as
in the language. Limits are no features: what they cost is solved for, not judged.

With soft values, a feature is its expected value under the scores of concepts: -P(broken), the expected quantity.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.evaluate import TermScore, Verdict, evaluate
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.compiler.soft_values import SoftTerm, SoftValues
from bylaw.compiler.weights.problem import PairProblem, distinct_rows
from bylaw.runtime.judgements.comparisons import Comparison, Comparisons
from bylaw.spec.expression import ConceptScore
from bylaw.spec.logic import walk
from bylaw.spec.trace import Trace

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled

FloatArray = NDArray[np.float64]


class WeighingError(Exception):
    """The judgements cannot be weighed under this policy; text fit for users."""


@dataclass(frozen=True, eq=False)
class Features:
    """N answers under the K weighed terms of a program.

    Attributes:
        terms: [K] those with a weight, in the order of the program.
        values: [N, K] in units of the features; NaN where it cannot be told.
        unknown: why, for each answer (row) with such a value or a hard rule that cannot be told: (term id, reason).
        broken: ids of the hard rules that an answer (row) breaks.
    """

    terms: tuple[RewardTerm, ...]
    values: FloatArray
    unknown: dict[int, tuple[tuple[str, str], ...]]
    broken: dict[int, tuple[str, ...]]


@dataclass(slots=True)
class Posed:
    """The pairs that say something about weights, and what became of the others.

    Attributes:
        problem: one row for each pair, not merged; None where no pair is left.
        places: [rows] where each pair comes from.
        contradicted: (place, hard rules) of pairs whose better answer, or a tie's one answer, breaks a hard rule.
        decided: pairs whose worse answer alone breaks a hard rule: the law never gives it, whatever the weights.
        unscored: pairs left out because a term could not be told, for each term the number and one reason.
        without_score: how many pairs that are.
    """

    problem: PairProblem | None = None
    places: list[str] = field(default_factory=list)
    contradicted: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    decided: int = 0
    unscored: dict[str, tuple[int, str]] = field(default_factory=dict)
    without_score: int = 0


def weighed_terms(program: RewardProgram, without: Iterable[str]) -> tuple[RewardTerm, ...]:
    """The terms with a weight, but those of the rules (or ids) in `without`.

    Raises WeighingError where none is left.
    """
    gone = set(without)
    found = tuple(term for term in program.terms if term.kind in ("soft", "graded") and not {term.rule, term.id} & gone)
    if not found:
        raise WeighingError("no rule is left that has a weight: judgements weigh `should` and `prefer`")
    return found


def features_of(
    program: RewardProgram,
    answers: Sequence[Trace],
    terms: Sequence[RewardTerm],
    aside: Collection[str] = (),
    advance: Callable[[], None] = lambda: None,
    soft: SoftValues | None = None,
) -> Features:
    """The features of answers. Hard rules in `aside` (names or ids) are not looked at; `advance` is called after each
    answer. With `soft`, features are expected values; whether a hard rule is broken is still what the evaluator says.
    """
    columns = {term.id: (column, -1.0 if (term.weight or 0.0) < 0 else 1.0) for column, term in enumerate(terms)}
    hard = {term.id for term in program.terms if term.kind == "hard" and not {term.id, term.rule} & set(aside)}
    asked = hard if soft is not None else hard | set(columns)
    part = RewardProgram(
        program.policy, program.version, program.levels, tuple(term for term in program.terms if term.id in asked)
    )
    values = np.zeros((len(answers), len(terms)))
    unknown: dict[int, tuple[tuple[str, str], ...]] = {}
    broken: dict[int, tuple[str, ...]] = {}
    for row, trace in enumerate(answers):
        scores = evaluate(part, trace).terms
        weighed: tuple[TermScore | SoftTerm, ...] = scores if soft is None else soft.terms(terms, trace)
        for score in weighed:
            if score.term in columns:
                column, sign = columns[score.term]
                values[row, column] = np.nan if score.value is None else sign * score.value + 0.0
        told = scores if soft is None else (*scores, *weighed)
        lacking = tuple((each.term, each.reason or "") for each in told if each.value is None)
        bad = tuple(each.term for each in scores if each.is_hard and each.verdict == Verdict.VIOLATED)
        if lacking:
            unknown[row] = lacking
        if bad:
            broken[row] = bad
        advance()
    return Features(tuple(terms), values, unknown, broken)


def pose(comparisons: Comparisons, features: Features) -> Posed:
    """The pairs that the weights are fitted to; margins that nobody gave are 0 here."""
    posed = Posed()
    kept: list[Comparison] = []
    lacking: Counter[str] = Counter()
    reasons: dict[str, str] = {}
    for pair in comparisons.pairs:
        bad = features.broken.get(pair.better, ())
        worse = features.broken.get(pair.worse, ())
        if bad or (pair.tie and worse):
            posed.contradicted.append((pair.place, bad or worse))
            continue
        unknown = dict((*features.unknown.get(pair.better, ()), *features.unknown.get(pair.worse, ())))
        if worse:
            posed.decided += 1
        elif unknown:
            posed.without_score += 1
            lacking.update(unknown.keys())
            reasons = unknown | reasons
        else:
            kept.append(pair)
    posed.unscored = {term: (number, reasons[term]) for term, number in lacking.most_common()}
    if kept:
        posed.problem = _problem(kept, features)
        posed.places = [pair.place for pair in kept]
    return posed


def _problem(pairs: Sequence[Comparison], features: Features) -> PairProblem:
    rows = sorted({row for pair in pairs for row in (pair.better, pair.worse)})
    values = features.values[rows]
    first, kinds = distinct_rows(values)
    classes = values[first]
    kind_of = dict(zip(rows, kinds.tolist(), strict=True))
    better = np.array([kind_of[pair.better] for pair in pairs], np.int64)
    worse = np.array([kind_of[pair.worse] for pair in pairs], np.int64)
    return PairProblem(
        names=tuple(term.id for term in features.terms),
        differences=classes[better] - classes[worse],
        margin=np.array([pair.margin or 0.0 for pair in pairs]),
        count=np.array([pair.weight for pair in pairs]),
        tie=np.array([pair.tie for pair in pairs], np.bool_),
        group=np.array([pair.group for pair in pairs], np.int64),
        classes=classes,
        better=better,
        worse=worse,
    )


def unknown_labels(compiled: Compiled, answers: Iterable[Trace]) -> tuple[str, ...]:
    """Labels that name no concept of the policy: nothing reads them."""
    program = compiled.require()
    said = (part for term in program.terms for part in (term.condition, term.holds, term.value) if part is not None)
    known = {part.concept.name for each in said for part in walk(each) if isinstance(part, ConceptScore)}
    known |= {concept.name for concept in compiled.regulators.concepts} if compiled.regulators is not None else set()
    return tuple(sorted({concept for trace in answers for concept, _ in trace.scores} - known))
