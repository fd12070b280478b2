"""How the rate of one limit trades against the divergence, from what comes for free to what the responses allow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bylaw.compiler.law.numerics import LowEffectiveSampleSize
from bylaw.compiler.law.tradeoff import TradeoffCurve, tradeoff_curve
from bylaw.compiler.program import RewardTerm
from bylaw.runtime.calibration.problem import ESS_FLOOR
from bylaw.runtime.prices.errors import BadQuestion, Unanswerable
from bylaw.runtime.prices.law import Law, Measured, Scores, is_share, population
from bylaw.runtime.prices.solve import budgets, weights_of
from bylaw.runtime.prices.what_if import find_terms

POINTS = 21


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One bound. `rate`, `multiplier` (nats) and `kl` (nats, of all limits beyond the other rules) are None where there
    is no law to give them for; `outcome` says why."""

    bound: float
    outcome: str
    rate: Measured | None
    multiplier: Measured | None
    kl: Measured | None
    ess: float | None


@dataclass(frozen=True, slots=True)
class Curve:
    """The curve of one limit. `free_rate` and `free_kl` are without it; `least` and `most` are as far as any law on the
    scored responses can go, other limits aside; `edges` are (last bound with a law, first without)."""

    term: str
    title: str | None
    sense: str
    is_share: bool
    bound: float
    free_rate: float
    free_kl: float
    least: float
    most: float
    points: tuple[CurvePoint, ...]
    edges: tuple[tuple[float, float], ...]


def curve(scores: Scores, terms: tuple[RewardTerm, ...], name: str, ess_floor: float = ESS_FLOOR) -> Curve:
    """The curve of the limit called `name`, all other limits kept.

    Raises BadQuestion for what is no limit over all answers, and Unanswerable where the responses cannot carry it.
    """
    index = _limit(scores, terms, name)
    on = np.ones(len(terms), dtype=np.bool_)
    problem = budgets(scores, terms, on)
    start = Law(scores, terms, on, weights_of(scores, terms))
    people = population(scores, terms, start.log_weight, problem.features(scores.values, scores.counts))
    place, share = problem.columns.index(index), float(scores.share[index])
    given = float(terms[index].bound or 0.0) * share

    def drawn(points: int | np.ndarray) -> TradeoffCurve:
        return tradeoff_curve(
            people,
            problem.bounds,
            problem.senses,  # type: ignore[arg-type]
            place,
            points,
            box=problem.price if np.isfinite(problem.price).any() else None,
            each_prompt=problem.each_prompt,
            ess_floor=ess_floor,
        )

    try:
        found = drawn(2)
        ends = (found.extreme[0], found.free_rate) if found.sense == "at most" else (found.free_rate, found.extreme[1])
        low, high = found.extreme if found.sense == "exactly" else ends
        grid, step = np.linspace(low, high, POINTS), (high - low) / (POINTS - 1)
        found = drawn(np.append(grid[np.abs(grid - given) > 0.2 * step], given))
    except LowEffectiveSampleSize as error:
        raise Unanswerable(f"without `{terms[index].id}`, {error}", (terms[index].id,)) from None
    except ValueError as error:
        raise Unanswerable(f"there is no curve of `{terms[index].id}`: {error}", (terms[index].id,)) from None
    return _in_its_unit(terms[index], found, share)


def _limit(scores: Scores, terms: tuple[RewardTerm, ...], name: str) -> int:
    """The column of a limit that has a curve."""
    fitting = [index for index in find_terms(terms, name) if terms[index].kind == "budget"]
    ids = tuple(terms[index].id for index in fitting)
    if len(fitting) != 1:
        names = ", ".join(f"`{each}`" for each in ids)
        raise BadQuestion(f"`{name}` has several limits: name one of {names}" if ids else f"`{name}` is no limit", ids)
    term = terms[fitting[0]]
    if term.among is not None or term.each_prompt:
        kind = "on each prompt" if term.each_prompt else "among some answers only"
        raise BadQuestion(f"`{term.id}` is a limit {kind}, and has no one curve; ask for single bounds with --what-if")
    if scores.share[fitting[0]] == 0:
        raise BadQuestion(f"`{term.id}` is about none of the prompts")
    return fitting[0]


def _in_its_unit(term: RewardTerm, found: TradeoffCurve, share: float) -> Curve:
    """Rates among the prompts that the limit is about; the dual has them over all prompts."""
    points = []
    for each in found.points:
        solved = each.outcome == "solved"
        points.append(
            CurvePoint(
                each.bound / share,
                each.outcome,
                _measured(each.rate / share, each.rate_interval, share) if solved else None,
                _measured(each.mu, each.mu_interval, 1.0) if solved else None,
                _measured(each.kl, each.kl_interval, 1.0) if solved else None,
                each.ess if np.isfinite(each.ess) else None,
            )
        )
    return Curve(
        term=term.id,
        title=term.title,
        sense=str(term.sense),
        is_share=is_share(term),
        bound=float(term.bound or 0.0),
        free_rate=found.free_rate / share,
        free_kl=found.free_kl,
        least=found.extreme[0] / share,
        most=found.extreme[1] / share,
        points=tuple(points),
        edges=tuple((last / share, first / share) for last, first in found.edges),
    )


def _measured(value: float, interval: tuple[float, float], share: float) -> Measured:
    return Measured(value, interval[0] / share, interval[1] / share)
