"""Solving for the multipliers of a policy's budgets on a real model, from weighted samples.

Round 0 reweights the base samples, which are there anyway. Every later round draws from the regulated decoder with the
multipliers found so far, so that the proposal moves towards the law, and solves again on those samples alone: they are
independent of the ones that the multipliers came from. Ends when the effective sample size is good enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from bylaw.compiler.law.dual import DualSolution
from bylaw.compiler.law.numerics import NORMAL_95, EmptySupport, LowEffectiveSampleSize
from bylaw.compiler.law.samples import Population, PromptSamples
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.audit.statistics import normal_quantile, wilson
from bylaw.runtime.calibration.pool import Ratios, ratios
from bylaw.runtime.calibration.problem import (
    BudgetInfeasible,
    BudgetProblem,
    Multipliers,
    TooFewSamples,
    budget_problem,
    multipliers_of,
    solve,
)
from bylaw.runtime.decoders.interface import DecodeResult
from bylaw.runtime.enforcement import PromptPlan, score_samples
from bylaw.runtime.models.sampling import BaseSample
from bylaw.runtime.record import BudgetResult, Calibration, Check, Interval

ESS_FLOOR = 100.0
"""Effective samples, all prompts together, under which multipliers are not believed (LAW.md section 2)."""
EACH_FLOOR = 20.0
"""Effective samples of one prompt under which nothing is said of a limit on it."""
ROUNDS = 3
TILT = 3.0
"""Nats by which a round pushes towards a budget that its sample could not meet."""


Redraw = Callable[[Multipliers, int], list[DecodeResult]]
"""(multipliers, round) -> fresh regulated samples for every prompt."""


def calibrate(
    program: RewardProgram, plans: Sequence[PromptPlan], base: Sequence[Sequence[BaseSample]], redraw: Redraw
) -> tuple[Multipliers, Calibration | None]:
    """The multipliers, and how they were found; None without budgets. Raises CalibrationError."""
    problem, _ = budget_problem(program, plans)
    if not problem.terms:
        return Multipliers({}), None
    multipliers = _warm_start(program, plans, base, problem)
    for number in range(1, ROUNDS + 1):
        results = redraw(multipliers, number)
        population = regulated_population(program, plans, results, problem)
        try:
            solution = solve(population, problem, ESS_FLOOR)
            found = multipliers_of(problem, solution)
            summary = _summary(problem, solution, number, population.size)
            return found, _in_their_units(program, plans, results, problem, population, found, summary)
        except LowEffectiveSampleSize as error:
            if number == ROUNDS:
                raise TooFewSamples(
                    f"the samples are worth {error.ess:.0f} independent ones, at least {error.floor:.0f} are needed; "
                    "ask for more particles or more prompts",
                    tuple(term.id for term in problem.terms),
                ) from None
            multipliers = first_guess(population, problem)
        except BudgetInfeasible as error:
            # What is rare need not be impossible: look for it with a tilted and larger sample before giving up.
            if number == ROUNDS:
                raise
            multipliers = tilted(problem, multipliers, error.terms)
    raise AssertionError("the last round either solves or raises")


def _warm_start(
    program: RewardProgram,
    plans: Sequence[PromptPlan],
    base: Sequence[Sequence[BaseSample]],
    problem: BudgetProblem,
) -> Multipliers:
    """A first guess from the base samples; nothing where the hard rules left no base sample of some prompt."""
    prompts = []
    for plan, samples in zip(plans, base, strict=True):
        scored = score_samples(program, plan, [sample.text for sample in samples])
        prompts.append(PromptSamples(scored.factors.sum(axis=1), problem.features(scored.values, scored.counts)))
    try:
        return first_guess(Population(prompts), problem)
    except EmptySupport:
        return Multipliers({})


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
        features = problem.features(scored.values, scored.counts)
        dead = result.particles - len(result.samples)
        prompts.append(
            PromptSamples(
                np.concatenate([weight, np.full(dead, -np.inf)]),
                np.concatenate([features, np.zeros((dead, features.shape[1]))]),
            )
        )
    return Population(prompts)


def check_on_fresh_samples(
    program: RewardProgram, plans: Sequence[PromptPlan], results: Sequence[DecodeResult], calibration: Calibration
) -> Check:
    """The budgets under the law, from samples that played no part in finding the multipliers.

    `plans` carry the multipliers of their own. The intervals hold both errors, of these samples and of those that the
    multipliers came from: a law that was solved for on a sample lies as far from its bound as that sample could not
    tell.
    """
    problem, _ = budget_problem(program, plans)
    population = regulated_population(program, plans, results, problem)
    common = {budget.term: budget.multiplier for budget in calibration.budgets}
    multipliers = Multipliers(common, tuple(plan.own for plan in plans))
    moments = population.moments(multipliers.table(problem, len(plans)))
    found = _among(program, plans, results, problem, population, multipliers)
    budgets = []
    for index, (budget, term, share) in enumerate(zip(calibration.budgets, problem.terms, problem.share, strict=True)):
        rate = float(moments.mean[index] - moments.bias[index]) / share
        own = float(np.sqrt(moments.mean_variance[index, index])) / share
        if problem.centred[index]:
            rate, own = float(found.value[index]), float(found.error[index])
        solved = (budget.rate_interval.high - budget.rate_interval.low) / (2 * NORMAL_95)
        error = float(np.hypot(own, solved if budget.multiplier else 0.0))
        interval = rate_interval(rate, error, moments.freedom * share, term.holds is not None)
        status = limit_status(budget.sense, budget.bound, interval) if moments.freedom >= ESS_FLOOR else "undetermined"
        if term.each_prompt:
            status = _status_of_each(budget, found, index, population.size / calibration.samples)
        budgets.append(replace(budget, rate=rate, rate_interval=interval, status=status))
    return Check(tuple(budgets), population.size, moments.ess, float(moments.prompt_ess.min()))


def _status_of_each(budget: BudgetResult, found: Ratios, index: int, sizes: float) -> str:
    """The status of a limit on each prompt, at 95 % for all prompts together (Bonferroni).

    `sizes` is the number of fresh samples over that of the samples that the multipliers came from: the variances of
    both add up.
    """
    value, error = found.prompt_value[:, index], found.prompt_error[:, index] * math.sqrt(1 + sizes)
    about = ~np.isnan(value)
    if found.prompt_ess[about].min() < EACH_FLOOR:
        return "undetermined"
    over = {"at most": value - budget.bound, "at least": budget.bound - value}
    excess = over.get(budget.sense, np.abs(value - budget.bound))[about]
    margin = normal_quantile(1 - 0.025 / about.sum()) * error[about]
    if (excess > margin).any():
        return "missed"
    # what was not seen in n samples may still be as frequent as 3 in n
    kept = (excess <= -np.maximum(margin, 3 / found.prompt_ess[about])).all()
    return "met" if kept else "met within its error"


def _among(
    program: RewardProgram,
    plans: Sequence[PromptPlan],
    results: Sequence[DecodeResult],
    problem: BudgetProblem,
    population: Population,
    multipliers: Multipliers,
) -> Ratios:
    """The rates of all budgets among the responses that each is about, under the law."""
    weights, amounts, counts = [], [], []
    for plan, result, prompt, mu in zip(
        plans, results, population.prompts, multipliers.table(problem, len(plans)), strict=True
    ):
        scored = score_samples(program, plan, [sample.text for sample in result.samples])
        alive = len(result.samples)
        weights.append(prompt.log_weight[:alive] - prompt.features[:alive] @ mu)
        amounts.append(scored.values[:, problem.columns])
        counts.append(scored.counts[:, problem.columns].astype(np.float64))
    return ratios(weights, amounts, counts)


def rate_interval(rate: float, error: float, independent: float, is_share: bool) -> Interval:
    """95 %: Wilson on the number of independent answers that would have this error, for a share; else normal."""
    if not is_share:
        return Interval(rate - NORMAL_95 * error, rate + NORMAL_95 * error)
    share = min(max(rate, 0.0), 1.0)
    worth = share * (1 - share) / error**2 if error > 0 else independent
    total = max(worth, 1.0)
    return wilson(share * total, total)


def limit_status(sense: str, bound: float, interval: Interval) -> str:
    """Which side of its bound a budget lies on, as far as the samples can tell."""
    kept, broken = {
        "at most": (interval.high <= bound, interval.low > bound),
        "at least": (interval.low >= bound, interval.high < bound),
    }.get(sense, (False, not interval.low <= bound <= interval.high))
    return "met" if kept else "missed" if broken else "met within its error"


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


def _in_their_units(
    program: RewardProgram,
    plans: Sequence[PromptPlan],
    results: Sequence[DecodeResult],
    problem: BudgetProblem,
    population: Population,
    multipliers: Multipliers,
    summary: Calibration,
) -> Calibration:
    """The rates of limits among some responses or on each prompt as rates, where the dual knows what exceeds the bound;
    a limit on each prompt shows the mean of its multipliers, and their range."""
    if not any(problem.centred):
        return summary
    free = _among(program, plans, results, problem, population, Multipliers({}))
    found = _among(program, plans, results, problem, population, multipliers)
    table = multipliers.table(problem, len(plans))
    budgets = []
    for index, (budget, term) in enumerate(zip(summary.budgets, problem.terms, strict=True)):
        rate, error = float(found.value[index]), float(found.error[index])
        if problem.centred[index]:
            interval = rate_interval(rate, error, found.freedom, term.holds is not None)
            budget = replace(budget, base_rate=float(free.value[index]), rate=rate, rate_interval=interval)
        if term.each_prompt:
            own = [float(value) for value in table[:, index]]
            budget = replace(budget, multiplier=float(np.mean(own)), multiplier_interval=Interval(min(own), max(own)))
        budgets.append(budget)
    return replace(summary, budgets=tuple(budgets))
