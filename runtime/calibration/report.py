"""From a solved calibration to its record: rates of every clause, limits with their status, and what to warn of."""

from __future__ import annotations

import math
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import bylaw
from bylaw.compiler.law.dual import DualSolution
from bylaw.compiler.law.normalisable import unbounded_terms
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.runtime.audit.statistics import exact_upper
from bylaw.runtime.calibration.check import limit_status, rate_interval
from bylaw.runtime.calibration.fit import FitSettings, Fitted, suite_population
from bylaw.runtime.calibration.pool import Ratios, free_log_weight, ratios, stratified
from bylaw.runtime.calibration.record import (
    BudgetRecord,
    CalibrationRecord,
    Estimate,
    PromptBudget,
    ProposalRecord,
    TermRate,
    program_text,
)
from bylaw.runtime.prices.scored import ScoredPrompt
from bylaw.runtime.record import Interval

FloatArray = NDArray[np.float64]

WORST = 5
"""Prompts that are listed for a limit over all prompts."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a calibration is of: names for people, and digests."""

    model: str
    prompts: str
    prompt_count: int


@dataclass(frozen=True, eq=False)
class _Rates:
    """Rates of all T terms under the three laws, and of what limits are `among` (columns T to 2T)."""

    base: Ratios
    free: Ratios
    law: Ratios


def build_record(
    fitted: Fitted, subject: Subject, settings: FitSettings, notes: Sequence[str] = ()
) -> CalibrationRecord:
    """The record of a calibration; `notes` are warnings that come from elsewhere and are kept with it."""
    program, origin = fitted.pool.sampler.program, fitted.suite.origin
    rates = _rates(fitted)
    terms = tuple(_term_rate(fitted, rates, column, term) for column, term in enumerate(program.terms))
    solution = fitted.solution
    budgets = (
        ()
        if solution is None
        else tuple(_budget(fitted, solution, rates, terms, index) for index in range(len(fitted.problem.terms)))
    )
    calibrated = program.with_multipliers({b.term: b.multiplier for b in budgets if b.multiplier is not None})
    return CalibrationRecord(
        policy=program.policy,
        policy_version=program.version,
        rules=program.digest,
        model=subject.model,
        model_digest=origin.model,
        prompts=subject.prompts,
        prompts_digest=origin.prompts,
        prompt_count=subject.prompt_count,
        temperature=origin.temperature,
        max_tokens=origin.max_tokens,
        seed=origin.seed,
        floor=settings.floor,
        proposals=_proposals(fitted),
        samples=fitted.suite.size,
        ess=rates.law.freedom,
        smallest_prompt_ess=float(rates.law.prompt_ess.min()),
        rounds=len(fitted.pool.proposals),
        converged=solution is None or solution.converged,
        elastic=tuple(sorted(settings.elastic.items())),
        budgets=budgets,
        terms=terms,
        warnings=(*notes, *_unbounded(calibrated, origin.max_tokens), *_warnings(fitted, budgets, terms)),
        versions=_versions(),
        program=program_text(calibrated),
    )


def _versions() -> tuple[tuple[str, str], ...]:
    """Of what the numbers may hang on in their last digits."""
    loaded = [(name, str(sys.modules[name].__version__)) for name in ("numpy", "torch") if name in sys.modules]
    return (("bylaw", bylaw.__version__), ("python", platform.python_version()), *loaded)


def _proposals(fitted: Fitted) -> tuple[ProposalRecord, ...]:
    pool = fitted.pool
    drawn = [sum(len(own) for own in law) for law in pool.draws]
    without = [sum(draw.text is None for own in law for draw in own) for law in pool.draws]
    laws = [(0.0, ()), *((each.scale, each.multipliers) for each in pool.proposals)]
    return tuple(
        ProposalRecord(number, drawn[number], without[number], scale, multipliers)
        for number, (scale, multipliers) in enumerate(laws)
    )


# -------------------------------------------------------------------------------------------------- rates
def _rates(fitted: Fitted) -> _Rates:
    program, problem = fitted.pool.sampler.program, fitted.problem
    table = fitted.multipliers.table(problem, len(fitted.suite.prompts))
    base, free, law, amounts, counts = [], [], [], [], []
    for place, (prompt, mu) in enumerate(zip(fitted.suite.prompts, table, strict=True)):
        weight = free_log_weight(program, prompt)
        base.append(prompt.log_ratio)
        free.append(weight)
        law.append(weight - problem.features(prompt.values, prompt.counts) @ mu)
        alive = {term.id for term in fitted.pool.sampler.plans[place].terms}
        amount, about = _measures(program, prompt, alive)
        amounts.append(amount)
        counts.append(about)
    base_rates, free_rates, law_rates = (ratios(each, amounts, counts, fitted.sizes) for each in (base, free, law))
    return _Rates(base_rates, free_rates, law_rates)


def _measures(program: RewardProgram, prompt: ScoredPrompt, alive: set[str]) -> tuple[FloatArray, FloatArray]:
    """([N, 2T], [N, 2T]) what is averaged, and over which responses: the terms, then what limits are `among`."""
    size = len(program.terms)
    amount, about = np.zeros((len(prompt.log_ratio), 2 * size)), np.zeros((len(prompt.log_ratio), 2 * size))
    for column, term in enumerate(program.terms):
        counts = prompt.counts[:, column].astype(np.float64)
        whole = np.full(len(counts), float(term.id in alive))
        is_breach = term.kind in ("hard", "soft")
        amount[:, column] = prompt.violated[:, column] if is_breach else prompt.values[:, column]
        about[:, column] = whole if term.kind == "budget" and term.among is None else counts
        amount[:, size + column], about[:, size + column] = counts, whole
    return amount, about


def _estimate(found: Ratios, column: int, *, is_share: bool) -> Estimate | None:
    value = float(found.value[column])
    if math.isnan(value):
        return None
    interval = rate_interval(value, float(found.error[column]), max(found.freedom, 1.0), is_share)
    return Estimate(min(max(value, 0.0), 1.0) if is_share else value, interval)


def _term_rate(fitted: Fitted, rates: _Rates, column: int, term: RewardTerm) -> TermRate:
    is_share = term.holds is not None
    fired = draws = 0
    for place, scored in enumerate(fitted.pool.scored(0)):
        if any(term.id == each.id for each in fitted.pool.sampler.plans[place].terms):
            happened = scored.values[:, column] != 0 if term.kind == "budget" else scored.violated[:, column]
            fired += int(happened.sum())
            draws += int(scored.counts[:, column].sum())
    never = is_share and not fired and draws
    return TermRate(
        term=term.id,
        kind=term.kind,
        level=term.level,
        is_share=is_share,
        base=_estimate(rates.base, column, is_share=is_share),
        law=_estimate(rates.law, column, is_share=is_share),
        fired=fired,
        draws=draws,
        at_most=exact_upper(0, draws, 0.95) if never else None,
    )


# -------------------------------------------------------------------------------------------------- limits
def _budget(
    fitted: Fitted, solution: DualSolution, rates: _Rates, terms: Sequence[TermRate], index: int
) -> BudgetRecord:
    problem = fitted.problem
    term, column = problem.terms[index], problem.columns[index]
    is_share, size = term.holds is not None, len(terms)
    base, free, law = (_estimate(each, column, is_share=is_share) for each in (rates.base, rates.free, rates.law))
    assert base is not None
    assert free is not None
    assert law is not None
    bound, sense = float(term.bound or 0.0), str(term.sense)
    prompts = _prompts(fitted, solution, rates, index)
    known = [prompt for prompt in prompts if not math.isnan(prompt.rate.value)]
    wrong = [prompt for prompt in known if limit_status(sense, bound, prompt.rate.interval) == "missed"]
    worst = sorted(known, key=lambda prompt: _room(sense, bound, prompt.rate.value))
    low, high = _multiplier_interval(fitted, solution, index)
    own = _room(sense, bound, worst[0].rate.value) if term.each_prompt else _room(sense, bound, law.value)
    price = problem.price[index]
    return BudgetRecord(
        term=term.id,
        level=term.level,
        sense=sense,
        bound=bound,
        is_share=is_share,
        among=term.among is not None,
        each_prompt=term.each_prompt,
        price=price if math.isfinite(price) else None,
        multiplier=None if term.each_prompt else fitted.multipliers.common[term.id],
        multiplier_interval=None if term.each_prompt else Interval(low, high),
        base_rate=base,
        free_rate=free,
        rate=law,
        slack=own,
        status=_status(solution, index, term, law, terms[column]),
        beyond=len(wrong),
        applicable=len(known),
        base_share=_estimate(rates.base, size + column, is_share=True) if term.among is not None else None,
        share=_estimate(rates.law, size + column, is_share=True) if term.among is not None else None,
        prompts=tuple(prompts) if term.each_prompt else tuple(worst[:WORST]),
    )


def _multiplier_interval(fitted: Fitted, solution: DualSolution, index: int) -> tuple[float, float]:
    """The 95 % interval of the solver with the error of stratified draws in place of that of independent ones."""
    low, high = (float(edge) for edge in solution.mu_interval[index])
    free = [place for place, status in enumerate(solution.status) if status == "binding"]
    if index not in free or any(fitted.problem.each_prompt) or not math.isfinite(high - low):
        return low, high
    program, problem = fitted.pool.sampler.program, fitted.problem
    population = suite_population(program, fitted.suite, problem)
    moments = population.moments(solution.mu)
    prompts = zip(population.prompts, fitted.sizes, strict=True)
    parts = (stratified(each.log_weight - each.features @ solution.mu, each.features, sizes) for each, sizes in prompts)
    middle = np.asarray(sum(parts)) / len(population.prompts) ** 2
    at = np.ix_(free, free)
    inverse = np.linalg.pinv(moments.covariance[at], hermitian=True)
    place = free.index(index)
    before, after = ((inverse @ each[at] @ inverse)[place, place] for each in (moments.mean_variance, middle))
    shrink = float(np.sqrt(after / before)) if before > 0 else 1.0
    mu = float(solution.mu[index])
    return mu - shrink * (mu - low), mu + shrink * (high - mu)


def _room(sense: str, bound: float, rate: float) -> float:
    return {"at most": bound - rate, "at least": rate - bound}.get(sense, -abs(rate - bound))


def _status(solution: DualSolution, index: int, term: RewardTerm, law: Estimate, rate: TermRate) -> str:
    found = solution.status[index]
    if not solution.converged or found not in ("met", "binding", "saturated"):
        return "undetermined"
    if found != "met":
        return found
    bound = float(term.bound or 0.0)
    if rate.is_share and solution.never_fired[index]:
        # nothing of it was seen at all: the sample can only say how rare it is at most
        return "met" if rate.at_most is not None and rate.at_most <= bound else "undetermined"
    return limit_status(str(term.sense), bound, law.interval)


def _prompts(fitted: Fitted, solution: DualSolution, rates: _Rates, index: int) -> list[PromptBudget]:
    term, column = fitted.problem.terms[index], fitted.problem.columns[index]
    found = []
    for place, prompt in enumerate(fitted.suite.prompts):
        rate, error = float(rates.law.prompt_value[place, column]), float(rates.law.prompt_error[place, column])
        missing = Interval(math.nan, math.nan)
        independent = max(float(rates.law.prompt_ess[place]), 1.0)
        interval = missing if math.isnan(rate) else rate_interval(rate, error, independent, term.holds is not None)
        low, high = (float(edge) for edge in solution.prompt_mu_interval[place, index])
        found.append(
            PromptBudget(
                prompt=prompt.id,
                base_rate=float(rates.base.prompt_value[place, column]),
                rate=Estimate(rate, interval),
                multiplier=dict(fitted.multipliers.own[place])[term.id] if term.each_prompt else None,
                multiplier_interval=Interval(low, high) if term.each_prompt else None,
            )
        )
    return found


# -------------------------------------------------------------------------------------------------- warnings
def _warnings(fitted: Fitted, budgets: Sequence[BudgetRecord], terms: Sequence[TermRate]) -> list[str]:
    found = [f"limit `{name}` is about none of the prompts" for name in fitted.idle]
    for rate in terms:
        if rate.at_most is not None:
            what = "happened in" if rate.kind == "budget" else "was broken by"
            found.append(
                f"`{rate.term}` {what} none of {rate.draws:,} answers of the model as it is: at most "
                f"{shown(rate.at_most, True)} would (95 % confidence)"
            )
    for budget in budgets:
        found += _budget_warnings(budget)
    return found


def _unbounded(program: RewardProgram, max_tokens: int) -> list[str]:
    """What only the cap on the length keeps within bounds: with another cap the multipliers are other ones."""
    return [
        f"`{found.term}`: {found.reason}; only the cap of {max_tokens} tokens keeps it within bounds, and with another "
        "cap the law is another one"
        for found in unbounded_terms(program)
    ]


def _budget_warnings(budget: BudgetRecord) -> list[str]:
    name, bound = f"limit `{budget.term}`", shown(budget.bound, budget.is_share)
    found = []
    if budget.status in ("met", "met within its error"):
        found.append(f"{name} holds without a multiplier: {_words(budget)} against {budget.sense} {bound}")
    if budget.status == "saturated":
        rate = _worst(budget) if budget.each_prompt else _words(budget)
        found.append(f"{name} gave way: {rate} against {budget.sense} {bound}, its price was reached")
    if budget.status == "undetermined":
        found.append(f"{name}: the draws cannot tell whether {budget.sense} {bound} is kept ({_words(budget)})")
    if budget.beyond and not budget.each_prompt and budget.status not in ("saturated", "undetermined"):
        worst = budget.prompts[0]
        found.append(
            f"{name} is kept over all prompts; by themselves {budget.beyond} of {budget.applicable} prompts are beyond "
            f"it, {worst.prompt} most with {shown(worst.rate.value, budget.is_share)}"
        )
    if budget.share is not None and budget.base_share is not None:
        before, after = budget.base_share, budget.share
        if after.interval.high < before.interval.low:
            found.append(
                f"{name} is about {shown(after.value, True)} of answers under the law and about "
                f"{shown(before.value, True)} of the model's own: it is met in part by fewer of these; a limit `at "
                "least` on their share keeps it"
            )
    return found


def _worst(budget: BudgetRecord) -> str:
    """The prompt that a limit for each prompt leaves furthest beyond its bound."""
    known = [prompt for prompt in budget.prompts if not math.isnan(prompt.rate.value)]
    worst = min(known, key=lambda prompt: _room(budget.sense, budget.bound, prompt.rate.value))
    return f"{shown(worst.rate.value, budget.is_share)} for prompt {worst.prompt}"


def _words(budget: BudgetRecord) -> str:
    rate = budget.rate
    low, high = (shown(edge, budget.is_share) for edge in (rate.interval.low, rate.interval.high))
    return f"{shown(rate.value, budget.is_share)} ({low} to {high})"


def shown(value: float, is_share: bool) -> str:
    """A rate as a percentage, a quantity in three figures."""
    if math.isnan(value):
        return "-"
    return f"{100 * value:.3g} %" if is_share else f"{value:.3g}"
