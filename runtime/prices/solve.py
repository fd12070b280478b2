"""The multipliers of a program's limits from scored responses alone, LAW.md §2: the dual of `bylaw calibrate`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bylaw.compiler.law.dual import DualSolution
from bylaw.compiler.law.numerics import BoolArray, FloatArray, LowEffectiveSampleSize
from bylaw.compiler.program import RewardTerm
from bylaw.runtime.calibration.problem import ESS_FLOOR, BudgetInfeasible, BudgetProblem
from bylaw.runtime.calibration.problem import solve as solve_budgets
from bylaw.runtime.prices.errors import Impossible, Unanswerable
from bylaw.runtime.prices.law import Law, Measured, Scores, is_share, population


@dataclass(frozen=True, eq=False)
class Solved:
    """A law whose limits were solved for. `columns` are the terms that the budgets of `solution` are; no solution
    where the law has no limit."""

    law: Law
    columns: tuple[int, ...]
    solution: DualSolution | None

    def multiplier(self, index: int) -> Measured:
        """The multiplier of a limit in nats with its 95 % interval (the mean over the prompts that it is about, where
        each has its own); 0 where the limit is about none of the prompts."""
        if self.solution is None or index not in self.columns:
            return Measured(0.0, 0.0, 0.0)
        place = self.columns.index(index)
        # The dual has the mean over all prompts, 0 where the limit is about none of the responses.
        share = float(self.law.scores.share[index]) if self.law.terms[index].each_prompt else 1.0
        low, high = (float(edge) / share for edge in self.solution.mu_interval[place])
        return Measured(float(self.solution.mu[place]) / share, low, high)

    def status(self, index: int) -> str | None:
        """What came of a limit in the dual; None for a term that is none, or about none of the prompts."""
        if self.solution is None or index not in self.columns:
            return None
        return str(self.solution.status[self.columns.index(index)])


def solve(
    scores: Scores, terms: tuple[RewardTerm, ...], active: BoolArray | None = None, ess_floor: float = ESS_FLOOR
) -> Solved:
    """The law of the terms that are `active` [T] (None: all), its limits met.

    Raises Impossible with the limits that conflict, and Unanswerable where the responses are worth fewer than
    `ess_floor` independent ones or leave a prompt without any.
    """
    on = np.ones(len(terms), dtype=np.bool_) if active is None else active
    start = Law(scores, terms, on, weights_of(scores, terms))
    problem = budgets(scores, terms, on)
    if not problem.terms:
        require_samples(start, ess_floor)
        return Solved(start, (), None)
    people = population(scores, terms, start.log_weight, problem.features(scores.values, scores.counts))
    try:
        solution = solve_budgets(people, problem, ess_floor, corrected=not scores.exact)
    except LowEffectiveSampleSize as error:
        raise Unanswerable(_too_few(error.ess, error.floor), tuple(term.id for term in problem.terms)) from None
    except BudgetInfeasible as error:
        raise Impossible(str(error), error.terms) from None
    strength = start.strength.copy()
    strength[:, problem.columns] = -solution.prompt_mu
    return Solved(Law(scores, terms, on, strength), problem.columns, solution)


def budgets(scores: Scores, terms: tuple[RewardTerm, ...], active: BoolArray) -> BudgetProblem:
    """The limits that are in the law and about some prompt, as a problem of the dual."""
    columns = tuple(
        index for index, term in enumerate(terms) if term.kind == "budget" and active[index] and scores.share[index] > 0
    )
    chosen = tuple(terms[index] for index in columns)
    prices = tuple(np.inf if term.price is None else float(term.price) for term in chosen)
    return BudgetProblem(chosen, columns, tuple(float(scores.share[index]) for index in columns), prices)


def weights_of(scores: Scores, terms: tuple[RewardTerm, ...]) -> FloatArray:
    """[X, T] the strengths that authors chose: weights in nats, 0 for hard rules and limits."""
    row = np.array([term.weight if term.weight is not None else 0.0 for term in terms])
    return np.tile(row, (len(scores.prompts), 1))


def require_samples(law: Law, floor: float) -> None:
    """Raises Unanswerable where fewer effective samples than `floor` stand behind a law."""
    freedom = law.moments.freedom
    if freedom < floor:
        raise Unanswerable(_too_few(freedom, floor))


def amount(term: RewardTerm, value: float) -> str:
    """A value of a term as people write it: a share in %, or a quantity."""
    return f"{100 * value:.3g}%" if is_share(term) else f"{value:.4g}"


def _too_few(ess: float, floor: float) -> str:
    return (
        f"the scored responses are worth {ess:.0f} independent ones under this law, and at least {floor:.0f} are "
        "needed: nothing is stated; calibrate the policy that you ask about, or with more samples"
    )
