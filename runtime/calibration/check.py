"""The limits of a law on fresh samples: whether they are met, as far as the samples can tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bylaw.compiler.law.numerics import NORMAL_95
from bylaw.compiler.law.samples import Population, PromptSamples
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.audit.statistics import normal_quantile, wilson
from bylaw.runtime.calibration.pool import Ratios, ratios
from bylaw.runtime.calibration.problem import ESS_FLOOR, BudgetProblem, Multipliers, TooFewSamples, budget_problem
from bylaw.runtime.decoders.interface import DecodeResult
from bylaw.runtime.enforcement import PromptPlan, score_samples
from bylaw.runtime.record import BudgetResult, Calibration, Check, Interval

EACH_FLOOR = 20.0
"""Effective samples of one prompt under which nothing is said of a limit on it."""


def check_on_fresh_samples(
    program: RewardProgram, plans: Sequence[PromptPlan], results: Sequence[DecodeResult], calibration: Calibration
) -> Check:
    """The budgets under the law, from samples that played no part in finding the multipliers.

    `plans` carry the multipliers of their own. The intervals hold both errors, of these samples and of those that the
    multipliers came from: a law that was solved for on a sample lies as far from its bound as that sample could not
    tell.
    """
    problem, _ = budget_problem(program, plans)
    population = _regulated_population(program, plans, results, problem)
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
            status = _status_of_each(budget, found, index, moments.ess / max(calibration.ess, 1.0))
        budgets.append(replace(budget, rate=rate, rate_interval=interval, status=status))
    return Check(tuple(budgets), population.size, moments.ess, float(moments.prompt_ess.min()))


def _status_of_each(budget: BudgetResult, found: Ratios, index: int, sizes: float) -> str:
    """The status of a limit on each prompt, at 95 % for all prompts together (Bonferroni).

    `sizes` is the effective number of fresh samples over that of the samples that the multipliers came from: the
    variances of both add up.
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


def _regulated_population(
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
        weight = np.array([sample.log_p0 + sample.log_correction - sample.log_q for sample in result.samples])
        weight += reward
        features = problem.features(scored.values, scored.counts)
        dead = result.particles - len(result.samples)
        prompts.append(
            PromptSamples(
                np.concatenate([weight, np.full(dead, -np.inf)]),
                np.concatenate([features, np.zeros((dead, features.shape[1]))]),
            )
        )
    return Population(prompts)


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
