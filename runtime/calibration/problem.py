"""The budgets of a program over its prompts, as a problem of the dual: features, bounds, and solving without the bias.

A limit over all prompts is about E f ≤ b; one under a condition about the prompts that meet it: its feature is 0
elsewhere, and its bound is scaled by the share of those prompts. A limit among some responses g is E 1[g](f − b) ≤ 0,
and one on each prompt is that for every prompt that it is about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.law.dual import DualSolution, solve_dual
from bylaw.compiler.law.numerics import LowEffectiveSampleSize
from bylaw.compiler.law.samples import Population, PromptSamples
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.runtime.enforcement import Own, PromptPlan

FloatArray = NDArray[np.float64]

ESS_FLOOR = 100.0
"""Effective samples, all prompts together, under which multipliers are not believed (LAW.md section 2)."""
ROUNDING = 1e-12
TILT = 3.0
"""Nats by which a round pushes towards a budget that its sample could not meet."""


@dataclass(frozen=True, slots=True)
class Multipliers:
    """Of budgets, in nats: `common` by term id, and `own` of single prompts."""

    common: Mapping[str, float]
    own: Own = ()

    def scaled(self, by: float) -> Multipliers:
        """All of them times `by`."""
        own = tuple(tuple((name, by * value) for name, value in pairs) for pairs in self.own)
        return Multipliers({name: by * value for name, value in self.common.items()}, own)

    def table(self, problem: BudgetProblem, prompts: int) -> FloatArray:
        """[X, J] the multipliers that act on each prompt."""
        found = np.zeros((prompts, len(problem.terms)))
        for place in range(prompts):
            values = {**self.common, **dict(self.own[place] if self.own else ())}
            found[place] = [values.get(term.id, 0.0) for term in problem.terms]
        return found


class CalibrationError(Exception):
    """The budgets of a policy cannot be solved for. `terms` are the ids of those to blame.

    CalibrationError
    +-- BudgetInfeasible   no law on the sampled responses meets these budgets together
    +-- TooFewSamples      the samples say too little
    """

    def __init__(self, message: str, terms: tuple[str, ...]) -> None:
        super().__init__(message)
        self.terms = terms


class BudgetInfeasible(CalibrationError):
    """No law on the sampled responses meets these budgets together."""


class TooFewSamples(CalibrationError):
    """The effective sample size stayed below the floor."""


@dataclass(frozen=True)
class BudgetProblem:
    """J budgets of a program. `columns` [J] are their places among its terms, `share` [J] the share of prompts that
    each is about, `price` [J] the largest multiplier of each in nats (inf: none), as in ``RewardTerm.price``."""

    terms: tuple[RewardTerm, ...]
    columns: tuple[int, ...]
    share: tuple[float, ...]
    price: tuple[float, ...]

    @property
    def centred(self) -> list[bool]:
        """[J] whether the feature is that above its bound, so that the bound is 0."""
        return [term.among is not None or term.each_prompt for term in self.terms]

    @property
    def bounds(self) -> list[float]:
        return [
            0.0 if centred else float(term.bound or 0.0) * share
            for term, share, centred in zip(self.terms, self.share, self.centred, strict=True)
        ]

    @property
    def senses(self) -> list[str]:
        return [str(term.sense) for term in self.terms]

    @property
    def each_prompt(self) -> list[bool]:
        """[J] whether each prompt has a multiplier of its own."""
        return [term.each_prompt for term in self.terms]

    def features(self, values: FloatArray, counts: NDArray[np.bool_]) -> FloatArray:
        """[N, J] from the values and counts [N, T] of all terms."""
        found = values[:, self.columns].astype(np.float64)
        for index, (term, column) in enumerate(zip(self.terms, self.columns, strict=True)):
            if self.centred[index]:
                found[:, index] -= float(term.bound or 0.0) * counts[:, column]
        return found

    def amount(self, term: RewardTerm, value: float) -> str:
        """A value of the feature of a budget in words."""
        return f"{value:.3g}" if term.holds is None else f"{100 * value:.3g} %"


def budget_problem(
    program: RewardProgram, plans: Sequence[PromptPlan], elastic: Mapping[str, float] | None = None
) -> tuple[BudgetProblem, tuple[str, ...]]:
    """The budgets that apply to some prompt, and the ids of those that apply to none.

    `elastic` are prices (nats) by authority level, which go before the price that a limit states itself.
    """
    kept: list[tuple[RewardTerm, int, float]] = []
    idle: list[str] = []
    for column, term in enumerate(program.terms):
        if term.kind == "budget":
            applicable = sum(any(alive.id == term.id for alive in plan.terms) for plan in plans)
            if applicable:
                kept.append((term, column, applicable / len(plans)))
            else:
                idle.append(term.id)
    prices = [(elastic or {}).get(term.level, term.price) for term, _, _ in kept]
    problem = BudgetProblem(
        tuple(term for term, _, _ in kept),
        tuple(column for _, column, _ in kept),
        tuple(share for _, _, share in kept),
        tuple(np.inf if price is None else float(price) for price in prices),
    )
    return problem, tuple(idle)


def solve(population: Population, problem: BudgetProblem, floor: float, *, corrected: bool = True) -> DualSolution:
    """Solves for the bounds and, where `corrected`, once more for bounds that are shifted by the bias of
    self-normalised rates: a rate comes out too low by about its covariance with the weights, which does not average
    out over prompts. Samples that are all responses, with their probabilities as weights, have no such bias.

    `population` has the features of `problem`, `floor` is in effective samples. Raises BudgetInfeasible,
    LowEffectiveSampleSize.
    """
    solution = _solve_for(population, problem, problem.bounds, floor)
    if not corrected:
        return solution
    shifted, moved = problem.bounds, population
    for index, (term, share) in enumerate(zip(problem.terms, problem.share, strict=True)):
        least = 0.5 * float(term.bound or 0.0) * share
        if least > 0 and not term.each_prompt:
            shifted[index] += max(float(solution.rate_bias[index]), -least)
    if any(problem.each_prompt):
        moved = _without_bias(population, problem, solution)
    try:
        return _solve_for(moved, problem, shifted, floor)
    except (BudgetInfeasible, LowEffectiveSampleSize):
        return solution


def first_guess(population: Population, problem: BudgetProblem) -> Multipliers:
    """Multipliers to draw the next sample with, however little this one says."""
    try:
        return multipliers_of(problem, solve(population, problem, 0.0))
    except BudgetInfeasible as error:
        return tilted(problem, Multipliers({}), error.terms)


def tilted(problem: BudgetProblem, multipliers: Multipliers, terms: tuple[str, ...]) -> Multipliers:
    """Multipliers that push the proposal further towards what these budgets ask for, in every prompt alike."""
    direction = {"at most": 1.0, "at least": -1.0}
    common = {
        term.id: multipliers.common.get(term.id, 0.0)
        + (TILT * direction.get(str(term.sense), 0.0) if term.id in terms else 0)
        for term in problem.terms
    }
    return Multipliers(common)


def _without_bias(population: Population, problem: BudgetProblem, solution: DualSolution) -> Population:
    """The population with the features of limits on each prompt shifted by the bias of that prompt."""
    prompts = []
    for prompt, mu in zip(population.prompts, solution.prompt_mu, strict=True):
        weight = np.exp(prompt.log_weight - prompt.features @ mu - np.max(prompt.log_weight - prompt.features @ mu))
        weight /= weight.sum()
        mean = weight @ prompt.features
        bias = -np.square(weight) @ (prompt.features - mean)
        shift = [
            max(float(part), -0.5 * float(term.bound or 0.0)) if term.each_prompt else 0.0
            for part, term in zip(bias, problem.terms, strict=True)
        ]
        prompts.append(PromptSamples(prompt.log_weight, prompt.features - np.array(shift)))
    return Population(prompts)


def _solve_for(population: Population, problem: BudgetProblem, bounds: list[float], floor: float) -> DualSolution:
    solution = solve_dual(
        population,
        bounds,
        problem.senses,  # type: ignore[arg-type]
        box=problem.price if np.isfinite(problem.price).any() else None,
        each_prompt=problem.each_prompt,
        ess_floor=floor,
    )
    certificate = solution.certificate
    if certificate is not None and certificate.value >= 0:
        names = [term.id for term in problem.terms]
        blamed = tuple(names[index] for index in certificate.conflict) or tuple(
            name for name, status in zip(names, solution.status, strict=True) if status == "hard rule"
        )
        raise BudgetInfeasible(_why_infeasible(population, problem, blamed), blamed)
    return solution


def _why_infeasible(population: Population, problem: BudgetProblem, blamed: tuple[str, ...]) -> str:
    parts = []
    for index, term in enumerate(problem.terms):
        if term.id in blamed:
            best = _best(population, problem, index)
            where = " on each prompt" if term.each_prompt else " among those it is about" if term.among else ""
            asked = problem.amount(term, float(term.bound or 0.0))
            parts.append(f"`{term.id}` asks for {term.sense} {asked}{where}, {best}")
    together = " together" if len(blamed) > 1 else ""
    return (
        f"the model cannot meet {'these budgets' if together else 'this budget'}{together}: {'; '.join(parts)} "
        f"(infeasible on the sampled support, N = {population.size})"
    )


def _best(population: Population, problem: BudgetProblem, index: int) -> str:
    """How far the sampled answers go towards a budget by itself."""
    term, share = problem.terms[index], problem.share[index]
    alive = [prompt.features[prompt.log_weight > -np.inf, index] for prompt in population.prompts]
    least, most = (float(np.mean([edge(part) for part in alive])) / share for edge in (np.min, np.max))
    if problem.centred[index]:
        missed = -most if term.sense == "at least" else least
        if abs(missed) < ROUNDING:
            return "which only sampled answers keep that it is not about: forbid the others by a hard rule"
        return "which by itself they could keep" if missed < 0 else f"which they miss by {missed:.3g} at least"
    is_too_low = term.sense == "at least" or (term.sense == "exactly" and most < float(term.bound or 0.0))
    word, reached = ("most", most) if is_too_low else ("least", least)
    return f"while the {word} that the sampled answers allow is {problem.amount(term, reached)}"


def multipliers_of(problem: BudgetProblem, solution: DualSolution) -> Multipliers:
    """The solution by name; 0 where there is no law."""
    finite = np.nan_to_num(solution.prompt_mu, nan=0.0, posinf=0.0, neginf=0.0)
    common = {
        term.id: 0.0 if term.each_prompt else float(value) for term, value in zip(problem.terms, finite[0], strict=True)
    }
    if not any(problem.each_prompt):
        return Multipliers(common)
    own = tuple(
        tuple((term.id, float(mu)) for term, mu in zip(problem.terms, row, strict=True) if term.each_prompt)
        for row in finite
    )
    return Multipliers(common, own)
