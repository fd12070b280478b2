"""Solving for the multipliers of a policy's budgets on a real model, from weighted samples.

Round 0 reweights the base samples, which are there anyway. Every later round draws from the regulated decoder with the
multipliers found so far, so that the proposal moves towards the law, and solves again on those samples alone: they are
independent of the ones that the multipliers came from. Ends when the effective sample size is good enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bylaw.compiler.law.dual import DualSolution, solve_dual
from bylaw.compiler.law.numerics import NORMAL_95, EmptySupport, LowEffectiveSampleSize
from bylaw.compiler.law.samples import Population, PromptSamples
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.runtime.audit.statistics import wilson
from bylaw.runtime.decoders.interface import DecodeResult
from bylaw.runtime.enforcement import PromptPlan, score_samples
from bylaw.runtime.models.sampling import BaseSample
from bylaw.runtime.record import BudgetResult, Calibration, Check, Interval

ESS_FLOOR = 100.0
"""Effective samples, all prompts together, under which multipliers are not believed (LAW.md section 2)."""
ROUNDS = 3
TILT = 3.0
"""Nats by which a round pushes towards a budget that its sample could not meet."""


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
    """The budgets of a program over its prompts.

    A budget under a condition is about the prompts that meet it: its feature is 0 elsewhere, and its bound is scaled by
    the share of those prompts, `share` [J].
    """

    terms: tuple[RewardTerm, ...]
    columns: tuple[int, ...]
    share: tuple[float, ...]

    @property
    def bounds(self) -> list[float]:
        return [float(term.bound or 0.0) * share for term, share in zip(self.terms, self.share, strict=True)]

    @property
    def senses(self) -> list[str]:
        return [str(term.sense) for term in self.terms]


def budget_problem(program: RewardProgram, plans: Sequence[PromptPlan]) -> tuple[BudgetProblem, tuple[str, ...]]:
    """The budgets that apply to some prompt, and the ids of those that apply to none."""
    kept: list[tuple[RewardTerm, int, float]] = []
    idle: list[str] = []
    for column, term in enumerate(program.terms):
        if term.kind == "budget":
            applicable = sum(any(alive.id == term.id for alive in plan.terms) for plan in plans)
            if applicable:
                kept.append((term, column, applicable / len(plans)))
            else:
                idle.append(term.id)
    problem = BudgetProblem(
        tuple(term for term, _, _ in kept), tuple(column for _, column, _ in kept), tuple(share for _, _, share in kept)
    )
    return problem, tuple(idle)


Redraw = Callable[[Mapping[str, float], int], list[DecodeResult]]
"""(multipliers in nats by term id, round) -> fresh regulated samples for every prompt."""


def calibrate(
    program: RewardProgram, plans: Sequence[PromptPlan], base: Sequence[Sequence[BaseSample]], redraw: Redraw
) -> tuple[dict[str, float], Calibration | None]:
    """Multipliers by term id (nats), and how they were found; None without budgets. Raises CalibrationError."""
    problem, _ = budget_problem(program, plans)
    if not problem.terms:
        return {}, None
    multipliers = _warm_start(program, plans, base, problem)
    for number in range(1, ROUNDS + 1):
        population = regulated_population(program, plans, redraw(multipliers, number), problem)
        try:
            solution = _solve(population, problem, ESS_FLOOR)
            return _named(problem, solution), _summary(problem, solution, number, population.size)
        except LowEffectiveSampleSize as error:
            if number == ROUNDS:
                raise TooFewSamples(
                    f"the samples are worth {error.ess:.0f} independent ones, at least {error.floor:.0f} are needed; "
                    "ask for more particles or more prompts",
                    tuple(term.id for term in problem.terms),
                ) from None
            multipliers = _first_guess(population, problem)
        except BudgetInfeasible as error:
            # What is rare need not be impossible: look for it with a tilted and larger sample before giving up.
            if number == ROUNDS:
                raise
            multipliers = _tilted(problem, multipliers, error.terms)
    raise AssertionError("the last round either solves or raises")


def _warm_start(
    program: RewardProgram,
    plans: Sequence[PromptPlan],
    base: Sequence[Sequence[BaseSample]],
    problem: BudgetProblem,
) -> dict[str, float]:
    """A first guess from the base samples; nothing where the hard rules left no base sample of some prompt."""
    prompts = []
    for plan, samples in zip(plans, base, strict=True):
        scored = score_samples(program, plan, [sample.text for sample in samples])
        prompts.append(PromptSamples(scored.factors.sum(axis=1), scored.values[:, problem.columns]))
    try:
        return _first_guess(Population(prompts), problem)
    except EmptySupport:
        return {}


def _first_guess(population: Population, problem: BudgetProblem) -> dict[str, float]:
    """Multipliers to draw the next sample with, however little this one says."""
    try:
        return _named(problem, _solve(population, problem, 0.0))
    except BudgetInfeasible as error:
        return _tilted(problem, {}, error.terms)


def _tilted(problem: BudgetProblem, multipliers: Mapping[str, float], terms: tuple[str, ...]) -> dict[str, float]:
    """Multipliers that push the proposal further towards what these budgets ask for."""
    direction = {"at most": 1.0, "at least": -1.0}
    return {
        term.id: multipliers.get(term.id, 0.0) + (TILT * direction.get(str(term.sense), 0.0) if term.id in terms else 0)
        for term in problem.terms
    }


def regulated_population(
    program: RewardProgram, plans: Sequence[PromptPlan], results: Sequence[DecodeResult], problem: BudgetProblem
) -> Population:
    """Regulated samples with weights for the law without budgets. Raises TooFewSamples when a prompt has none."""
    prompts = []
    for plan, result in zip(plans, results, strict=True):
        if not result.samples:
            hard = tuple(term.id for term in plan.terms if term.kind == "hard")
            raise TooFewSamples(
                f"prompt {plan.trace.id}: none of {result.particles} particles obeys the hard rules", hard
            )
        scored = score_samples(program, plan, [sample.text for sample in result.samples])
        reward = scored.factors.sum(axis=1) - scored.factors[:, problem.columns].sum(axis=1)
        weight = np.array([sample.log_p0 - sample.log_q for sample in result.samples]) + reward
        features = scored.values[:, problem.columns]
        dead = result.particles - len(result.samples)
        prompts.append(
            PromptSamples(
                np.concatenate([weight, np.full(dead, -np.inf)]),
                np.concatenate([features, np.zeros((dead, features.shape[1]))]),
            )
        )
    return Population(prompts)


def _solve(population: Population, problem: BudgetProblem, floor: float) -> DualSolution:
    """Solves for the bounds, and once more for bounds that are shifted by the bias of self-normalised rates: a rate
    comes out too low by about its covariance with the weights, which does not average out over prompts."""
    solution = _solve_for(population, problem, problem.bounds, floor)
    shifted = [
        max(bound + float(bias), 0.5 * bound) if bound > 0 else bound
        for bound, bias in zip(problem.bounds, solution.rate_bias, strict=True)
    ]
    try:
        corrected = _solve_for(population, problem, shifted, floor)
    except (BudgetInfeasible, LowEffectiveSampleSize):
        return solution
    return corrected


def _solve_for(population: Population, problem: BudgetProblem, bounds: list[float], floor: float) -> DualSolution:
    solution = solve_dual(population, bounds, problem.senses, ess_floor=floor)  # type: ignore[arg-type]
    certificate = solution.certificate
    if certificate is not None and certificate.value >= 0:
        names = [term.id for term in problem.terms]
        blamed = tuple(names[index] for index in certificate.conflict) or tuple(
            name for name, status in zip(names, solution.status, strict=True) if status not in ("met", "binding")
        )
        raise BudgetInfeasible(_why_infeasible(population, problem, blamed), blamed)
    return solution


def _why_infeasible(population: Population, problem: BudgetProblem, blamed: tuple[str, ...]) -> str:
    parts = []
    for index, (term, share) in enumerate(zip(problem.terms, problem.share, strict=True)):
        if term.id in blamed:
            best = _best(population, index, term, share)
            parts.append(f"`{term.id}` asks for {term.sense} {_amount(term, float(term.bound or 0.0))}, {best}")
    together = " together" if len(blamed) > 1 else ""
    return (
        f"the model cannot meet {'these budgets' if together else 'this budget'}{together}: {'; '.join(parts)} "
        f"(infeasible on the sampled support, N = {population.size})"
    )


def _best(population: Population, index: int, term: RewardTerm, share: float) -> str:
    extremes = []
    for prompt in population.prompts:
        alive = prompt.features[prompt.log_weight > -np.inf, index]
        extremes.append(alive.max() if term.sense == "at least" else alive.min())
    most = "most" if term.sense == "at least" else "least"
    return f"while the {most} that the sampled answers allow is {_amount(term, float(np.mean(extremes)) / share)}"


def _amount(term: RewardTerm, bound: float) -> str:
    return f"{bound:.3g}" if term.holds is None else f"{100 * bound:.3g} %"


def check_on_fresh_samples(
    program: RewardProgram, plans: Sequence[PromptPlan], results: Sequence[DecodeResult], calibration: Calibration
) -> Check:
    """The budgets under the law, from samples that played no part in finding the multipliers.

    The intervals hold both errors, of these samples and of those that the multipliers came from: a law that was solved
    for on a sample lies as far from its bound as that sample could not tell.
    """
    problem, _ = budget_problem(program, plans)
    population = regulated_population(program, plans, results, problem)
    moments = population.moments([budget.multiplier for budget in calibration.budgets])
    budgets = []
    for index, (budget, term, share) in enumerate(zip(calibration.budgets, problem.terms, problem.share, strict=True)):
        rate = float(moments.mean[index] - moments.bias[index]) / share
        own = float(np.sqrt(moments.mean_variance[index, index])) / share
        solved = (budget.rate_interval.high - budget.rate_interval.low) / (2 * NORMAL_95)
        error = float(np.hypot(own, solved if budget.multiplier else 0.0))
        interval = _rate_interval(rate, error, moments.freedom * share, term.holds is not None)
        status = _status(budget, interval) if moments.freedom >= ESS_FLOOR else "undetermined"
        budgets.append(replace(budget, rate=rate, rate_interval=interval, status=status))
    return Check(tuple(budgets), population.size, moments.ess, float(moments.prompt_ess.min()))


def _rate_interval(rate: float, error: float, independent: float, is_share: bool) -> Interval:
    """95 %: Wilson on the number of independent answers that would have this error, for a share; else normal."""
    if not is_share:
        return Interval(rate - NORMAL_95 * error, rate + NORMAL_95 * error)
    share = min(max(rate, 0.0), 1.0)
    worth = share * (1 - share) / error**2 if error > 0 else independent
    total = max(worth, 1.0)
    return wilson(share * total, total)


def _status(budget: BudgetResult, interval: Interval) -> str:
    """Which side of its bound a budget lies on, as far as the samples can tell."""
    kept, broken = {
        "at most": (interval.high <= budget.bound, interval.low > budget.bound),
        "at least": (interval.low >= budget.bound, interval.high < budget.bound),
    }.get(budget.sense, (False, not interval.low <= budget.bound <= interval.high))
    return "met" if kept else "missed" if broken else "met within its error"


def _named(problem: BudgetProblem, solution: DualSolution) -> dict[str, float]:
    return {term.id: float(mu) if np.isfinite(mu) else 0.0 for term, mu in zip(problem.terms, solution.mu, strict=True)}


def _summary(problem: BudgetProblem, solution: DualSolution, rounds: int, samples: int) -> Calibration:
    budgets = []
    for index, (term, share) in enumerate(zip(problem.terms, problem.share, strict=True)):
        low, high = (float(edge) for edge in solution.mu_interval[index])
        rate_low, rate_high = (float(edge) / share for edge in solution.rate_interval[index])
        budgets.append(
            BudgetResult(
                term=term.id,
                sense=str(term.sense),
                bound=float(term.bound or 0.0),
                multiplier=float(solution.mu[index]),
                multiplier_interval=Interval(low, high),
                base_rate=float(solution.base_rate[index]) / share,
                rate=float(solution.rate[index]) / share,
                rate_interval=Interval(rate_low, rate_high),
                status=solution.status[index],
            )
        )
    return Calibration(tuple(budgets), rounds, samples, solution.ess, solution.ess_min, solution.converged)
