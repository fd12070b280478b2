"""Fits the weights of a policy to comparisons, and says how sure they are and what does not fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.compiler.weights.fit import FitOptions as Arguments
from bylaw.compiler.weights.fit import FittedWeights, NotSolved, SeparableJudgements, fit_weights
from bylaw.compiler.weights.problem import PairProblem
from bylaw.compiler.weights.rows import losses, rows_of
from bylaw.runtime.audit.inputs import quote_all
from bylaw.runtime.judgements.comparisons import Comparisons
from bylaw.runtime.judgements.conflicts import conflicts_of
from bylaw.runtime.judgements.features import Posed, WeighingError
from bylaw.runtime.judgements.record import (
    Accuracies,
    Accuracy,
    FitOptions,
    JudgementsRead,
    RulesRead,
    Unweighed,
    WeightInterval,
    WeightRecord,
    WeightRow,
)
from bylaw.runtime.record import InputProblem, Interval

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled

FloatArray = NDArray[np.float64]
FEWEST_GROUPS = 10
"""Prompts below which resampling them says nothing."""
_AT_LIMIT = 1e-6
_EQUAL = 1e-9


@dataclass(frozen=True, slots=True)
class Fitted:
    """The part of a record that comes from the pairs alone; its fields are those of `WeightRecord`."""

    rows: tuple[WeightRow, ...]
    loss_before: float
    loss_after: float
    gap: float
    accuracy: Accuracies | None
    why_no_accuracy: str
    warnings: tuple[str, ...]


def fitted(program: RewardProgram, posed: Posed, options: FitOptions) -> Fitted:
    """The weights that explain the judgements best. Terms are those of the problem, in its order.

    Raises WeighingError where there is nothing to fit, or no weights can be found.
    """
    problem = posed.problem
    if problem is None:
        raise WeighingError("no judgement is left that says anything about weights")
    if options.loss == "hinge" and not problem.tie.all() and not problem.margin[~problem.tie].any():
        raise WeighingError("the hinge loss asks for a margin, and no judgement has one; give --margin 1")
    terms = [program.term(name) for name in problem.names]
    now = np.array([abs(term.weight or 0.0) for term in terms])
    kept = np.array([bool({term.id, term.rule} & set(options.keep)) for term in terms])
    arguments = _arguments(program, terms, now, kept, options)
    merged = problem.merged()
    try:
        solution = fit_weights(merged, **arguments)
        intervals = _intervals(merged, arguments, options)
        accuracy, why_not = _accuracy(merged, arguments, now, options)
    except SeparableJudgements as error:
        raise WeighingError(f"{_separable(error)}; give --l2 0.1, or --at-most") from error
    except (NotSolved, ValueError) as error:
        raise WeighingError(f"the weights cannot be fitted: {error}") from error
    told = _told_apart(problem)
    rows = tuple(_row(term, solution, column, now, kept, told, intervals, options) for column, term in enumerate(terms))
    rows_now = rows_of(merged, solution.loss_name)
    before = float(
        rows_now.count @ losses(solution.loss_name, rows_now.margin - rows_now.differences @ now) / merged.judgements
    )
    warnings = _warnings(solution, _groups(problem), options)
    return Fitted(rows, before, solution.loss, solution.gap, accuracy, why_not, warnings)


def _separable(error: SeparableJudgements) -> str:
    named = ", ".join(f"`{name}`" for name in error.names)
    grow = "its weight" if len(error.names) == 1 else "their weights"
    return f"no judgement speaks against {named}, so {grow} would grow without end"


def _arguments(
    program: RewardProgram, terms: Sequence[RewardTerm], now: FloatArray, kept: NDArray[np.bool_], options: FitOptions
) -> Arguments:
    """What `fit_weights` is given: weights that are kept have no room, and nothing pulls away from what stands now."""
    return Arguments(
        loss="hinge" if options.loss == "hinge" else "logistic",
        l2=options.l2,
        reference=now,
        lower=np.where(kept, now, options.at_least),
        upper=np.where(kept, now, np.inf if options.at_most is None else options.at_most),
        monotone=monotone_pairs(program, terms) if options.is_monotone else (),
    )


def monotone_pairs(program: RewardProgram, terms: Sequence[RewardTerm]) -> tuple[tuple[int, int], ...]:
    """(i, j) for each `should` i of a level and `should` j of the next weaker level that has one: i is not lighter.

    Preferences are left aside: their weights are per unit of different quantities.
    """
    by_level = [
        [column for column, term in enumerate(terms) if term.kind == "soft" and term.level == level]
        for level in program.levels
    ]
    present = [columns for columns in by_level if columns]
    return tuple((strong, weak) for upper, lower in pairwise(present) for strong in upper for weak in lower)


def _told_apart(problem: PairProblem) -> FloatArray:
    """[K] how many judgements are about answers between which a feature differs."""
    told: FloatArray = problem.count @ (problem.differences != 0.0)
    return told


def _row(
    term: RewardTerm,
    solution: FittedWeights,
    column: int,
    now: FloatArray,
    kept: NDArray[np.bool_],
    told: FloatArray,
    intervals: FloatArray | None,
    options: FitOptions,
) -> WeightRow:
    weight = float(solution.weights[column])
    if kept[column]:
        status, remark = "kept", "kept as it is"
    elif told[column] == 0:
        status, remark = "untold", "no judgement depends on it"
        remark += "" if abs(weight - now[column]) <= _AT_LIMIT else "; moved to where it is allowed"
    elif solution.undetermined[column]:
        status, remark = "undetermined", "only told together with other rules"
    elif weight <= options.at_least + _AT_LIMIT:
        status, remark = "lower limit", "the judgements speak against it"
        remark += "" if options.at_least == 0 else f"; at its limit {options.at_least:g}"
    elif options.at_most is not None and weight >= options.at_most - _AT_LIMIT:
        status, remark = "upper limit", f"at its limit {options.at_most:g}"
    else:
        status, remark = "fitted", ""
    interval = None
    if intervals is not None and status not in ("kept", "untold"):
        low, high = map(float, intervals[column])
        if status == "fitted" and high - low <= _AT_LIMIT * max(1.0, weight):
            remark = "all prompts say the same of it, so resampling them gives no interval"
        else:
            interval = WeightInterval(low, high if math.isfinite(high) else None)
    identity = (term.id, term.rule, term.level, term.kind)
    return WeightRow(*identity, float(now[column]), weight, interval, float(told[column]), status, remark)


def _intervals(problem: PairProblem, arguments: Arguments, options: FitOptions) -> FloatArray | None:
    """[K, 2] intervals of the weights from resampled prompts; None with too few of them."""
    if options.resamples == 0 or _groups(problem) < FEWEST_GROUPS:
        return None
    from bylaw.compiler.weights.bootstrap import bootstrap_intervals

    return bootstrap_intervals(problem, resamples=options.resamples, seed=options.seed, **arguments)


def _accuracy(
    problem: PairProblem, arguments: Arguments, now: FloatArray, options: FitOptions
) -> tuple[Accuracies | None, str]:
    """How many judgements of other prompts the weights get right, and what simpler ones do; or None, and why."""
    strict = problem.selected(~problem.tie)
    if _groups(strict) < FEWEST_GROUPS:
        what = "blocks" if options.group_by else "prompts"
        return None, f"too few {what}" if strict.pairs else "all judgements are ties"
    from bylaw.compiler.weights.held_out import cluster_rate, held_out_accuracy

    try:
        found = held_out_accuracy(problem, folds=options.folds, seed=options.seed, **arguments)
    except SeparableJudgements as error:  # all of them have best weights, but a part of them has none
        return None, f"in a part of them {_separable(error)} (--l2 0.1 or --at-most holds them)"
    scores = strict.differences @ now
    right = np.where(np.abs(scores) <= _EQUAL, 0.5, (scores > 0).astype(np.float64))
    present = cluster_rate(right, strict.count, strict.group)
    accuracies = Accuracies(
        held_out=Accuracy(found.rate, Interval(*found.interval)),
        now=Accuracy(present.rate, Interval(*present.interval)),
        equal_weights=Accuracy(found.baseline.rate, Interval(*found.baseline.interval)),
        best_rule=Accuracy(found.single.rate, Interval(*found.single.interval)),
        undecided=found.undecided,
    )
    return accuracies, ""


def _groups(problem: PairProblem) -> int:
    return int(np.unique(problem.group).size)


def _warnings(solution: FittedWeights, groups: int, options: FitOptions) -> tuple[str, ...]:
    found = []
    if groups < FEWEST_GROUPS:
        found.append(
            f"the judgements are about {groups} {'prompt' if groups == 1 else 'prompts'}; intervals and held-out "
            f"accuracy need {FEWEST_GROUPS}"
        )
    if solution.separable and options.l2 > 0 and options.loss == "logistic":
        found.append("no judgement is left that the weights get wrong, so how large they are is decided by --l2")
    return tuple(found)


def record_of(
    compiled: Compiled,
    path: str,
    options: FitOptions,
    made: Comparisons,
    posed: Posed,
    files: tuple[JudgementsRead, ...],
    classes: tuple[tuple[str, int], ...],
    problems: tuple[InputProblem, ...],
    unread: tuple[str, ...],
) -> WeightRecord:
    """The record of a fit. `unread` are labels that name no concept. Raises WeighingError, as `fitted`."""
    program = compiled.require()
    unweighed = Unweighed(
        contradicted=tuple(posed.contradicted),
        decided=posed.decided,
        unscored=posed.without_score,
        reasons=tuple((term, number, reason) for term, (number, reason) in posed.unscored.items()),
        lines=tuple((each.place, each.reason) for each in made.left_out),
    )
    if posed.problem is None:
        raise WeighingError(f"no judgement is left that says anything about weights: {_why_none(unweighed)}")
    found = fitted(program, posed, options)
    unknown = (f"no concept of the policy is called {quote_all(unread)}; these labels say nothing",) if unread else ()
    problem = posed.problem
    return WeightRecord(
        rules=RulesRead(path, program.digest, program.policy, program.version),
        judgements=files,
        options=options,
        pairs=problem.pairs,
        ties=int(problem.tie.sum()),
        prompts=len(set(problem.group.tolist())),
        weight_of_judgements=problem.judgements,
        classes=classes,
        rows=found.rows,
        loss_before=found.loss_before,
        loss_after=found.loss_after,
        gap=found.gap,
        accuracy=found.accuracy,
        why_no_accuracy=found.why_no_accuracy,
        conflicts=conflicts_of(program, made, posed),
        unweighed=unweighed,
        problems=problems,
        warnings=(*found.warnings, *unknown),
    )


def _why_none(unweighed: Unweighed) -> str:
    if unweighed.unscored:
        term, number, reason = unweighed.reasons[0]
        return f"`{term}` cannot be told for {number} of them ({reason}); give labels or facts, or --without {term}"
    if unweighed.contradicted:
        place, rules = unweighed.contradicted[0]
        return f"the better answers break hard rules, such as `{rules[0]}` at {place}"
    return "hard rules decide all of them"
