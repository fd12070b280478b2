"""The price of a budget at every bound: exact on enumerated laws, honest at the edges, errors against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.compiler.law.dual import Sense, solve_dual
from bylaw.compiler.law.gibbs import ExactLaw, kl_divergence
from bylaw.compiler.law.samples import Population, PromptSamples
from bylaw.compiler.law.tradeoff import TradeoffCurve, kl_error, tradeoff_curve

REPEATABLE = settings(max_examples=15, deadline=None, derandomize=True, database=None)
SENSES: list[Sense] = ["at most", "at least", "exactly"]


def enumerated(rng: np.random.Generator, size: int, budgets: int) -> tuple[ExactLaw, Population]:
    """A random law without multipliers, and the same as one prompt of 'samples', on which estimates are exact."""
    log_p0 = np.log(rng.dirichlet(np.ones(size)))
    allowed = rng.random(size) < 0.9
    allowed[:6] = True
    reward = rng.normal(0.0, 0.5, size)
    features = rng.normal(size=(size, budgets))
    features[:, 0] = rng.random(size) < 0.4
    law = ExactLaw(log_p0, allowed, reward, features, np.zeros(budgets))
    weight = np.where(allowed, log_p0 + reward + np.log(size), -np.inf)
    return law, Population([PromptSamples(weight, features)])


def curve_of(population: Population, bounds: np.ndarray, senses: list[Sense], **options: object) -> TradeoffCurve:
    given = {"points": 11, "tolerance": 1e-12, "ess_floor": 0.0} | options
    return tradeoff_curve(population, bounds, senses, 0, **given)  # type: ignore[arg-type]


@REPEATABLE
@given(st.integers(0, 2**32), st.sampled_from(SENSES), st.integers(1, 3))
def test_the_curve_is_convex_with_slope_minus_mu(seed: int, sense: Sense, budgets: int) -> None:
    rng = np.random.default_rng(seed)
    law, population = enumerated(rng, 40, budgets)
    bounds = law.expectation() + np.array([0.0, -0.3, 0.3])[:budgets]
    senses: list[Sense] = [sense, "at most", "at least"][:budgets]  # type: ignore[list-item]
    curve = curve_of(population, bounds, senses)
    solved = curve.solved
    assert len(solved) >= 5
    bound, kl = np.array([p.bound for p in solved]), np.array([p.kl for p in solved])
    mu, rate = np.array([p.mu for p in solved]), np.array([p.rate for p in solved])
    np.testing.assert_allclose(rate, bound, atol=1e-7)
    assert (np.diff(kl, 2) >= -1e-9).all()
    assert (np.diff(mu) <= 1e-7).all()
    assert kl.min() >= curve.free_kl - 1e-10
    # Monotone away from the rate that comes for free.
    distance = np.argsort(np.abs(bound - curve.free_rate))
    for side in (bound <= curve.free_rate, bound >= curve.free_rate):
        assert (np.diff(kl[[place for place in distance if side[place]]]) >= -1e-10).all()
    for point in solved:
        star = law.reweighted(mu=point.multipliers)
        assert point.kl == pytest.approx(kl_divergence(star.log_p, law.log_p), abs=1e-8)
        assert star.expectation()[0] == pytest.approx(point.bound, abs=1e-7)
        assert (star.expectation()[1:] <= bounds[1:] + [1e-7, np.inf][: budgets - 1]).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sense", ["at most", "at least"])
def test_the_slope_is_minus_mu(seed: int, sense: Sense) -> None:
    """By a rule of four points around the middle of the curve, to 1e-6, with two other budgets solved anew."""
    rng = np.random.default_rng(seed)
    law, population = enumerated(rng, 40, 3)
    mu = np.array([0.8 if sense == "at most" else -0.8, 0.5, -0.4])
    bounds = law.reweighted(mu=mu).expectation()
    around = bounds[0] + 1e-3 * np.array([-2, -1, 0, 1, 2])
    senses: list[Sense] = [sense, "at most", "at least"]
    solved = curve_of(population, bounds, senses, points=around).solved
    assert len(solved) == 5
    np.testing.assert_allclose(solved[2].multipliers, mu, atol=1e-7)
    slope = np.array([1, -8, 0, 8, -1]) @ [point.kl for point in solved] / 12e-3
    assert slope == pytest.approx(-solved[2].mu, abs=1e-6)


def test_the_other_multipliers_are_solved_anew() -> None:
    """A tax on one of two rival features has to rise when the other is pushed down."""
    rng = np.random.default_rng(0)
    first = rng.random(4000) < 0.5
    features = np.column_stack([first, ~first]).astype(float)
    features[:400] = 0.0
    population = Population([PromptSamples(np.zeros(4000), features)])
    curve = tradeoff_curve(population, [0.4, 0.45], ["at most", "at most"], 0, points=[0.2, 0.3, 0.4])
    others = [point.multipliers[1] for point in curve.solved]
    assert others[0] > others[1] > others[2] >= 0.0
    alone = solve_dual(population, [0.3, 0.45], ["at most", "at most"])
    assert curve.solved[1].kl == pytest.approx(alone.budget_kl, abs=1e-12)
    np.testing.assert_allclose(curve.solved[1].multipliers, alone.mu)


def test_where_the_sample_ends_nothing_is_drawn() -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(2, 9, 3000).astype(float)
    population = Population([PromptSamples(np.zeros(3000), values[:, None])])
    curve = tradeoff_curve(population, [4.0], ["at most"], 0, points=np.arange(0.0, 6.0, 0.5))
    outcome = {point.bound: point.outcome for point in curve.points}
    assert [outcome[b] for b in (0.0, 1.5, 2.0)] == ["infeasible on the sampled support"] * 2 + ["hard rule"]
    assert outcome[3.0] == "solved"
    assert curve.extreme == (2.0, 8.0)
    assert curve.edges == ((2.5, 2.0),) or curve.edges[0][1] == 2.0
    assert all(np.isnan([p.kl, p.mu, p.rate, *p.kl_interval]).all() for p in curve.points if p.outcome != "solved")
    # A rare event: at 3 of 3,000 no law that consists of them is carried by 100 effective samples.
    rare = np.zeros(3000)
    rare[:3] = 1.0
    population = Population([PromptSamples(np.zeros(3000), rare[:, None])])
    scarce = tradeoff_curve(population, [0.5], ["at least"], 0, points=[0.001, 0.05, 0.3, 0.6, 0.99])
    assert [point.outcome for point in scarce.points] == ["solved"] * 2 + ["too few effective samples"] * 3
    assert all(point.ess < 100.0 and np.isnan(point.kl) for point in scarce.points[2:])


def test_other_budgets_can_end_the_curve_first() -> None:
    rng = np.random.default_rng(2)
    first = rng.random(2000) < 0.5
    population = Population([PromptSamples(np.zeros(2000), np.column_stack([first, ~first]).astype(float))])
    curve = tradeoff_curve(population, [0.5, 0.6], ["at most", "at most"], 0, points=[0.1, 0.3, 0.45, 0.5])
    assert [point.outcome for point in curve.points] == ["infeasible on the sampled support"] * 2 + ["solved"] * 2
    assert curve.edges == ((0.45, 0.3),)
    with pytest.raises(ValueError, match=r"other budgets have no law.*\[1\]"):
        tradeoff_curve(population, [0.5, 1.5], ["at most", "at least"], 0)


def test_what_gives_way_gives_way() -> None:
    """An elastic rival saturates at its price; the curve goes on, and its own price is disregarded."""
    rng = np.random.default_rng(3)
    first = rng.random(3000) < 0.5
    population = Population([PromptSamples(np.zeros(3000), np.column_stack([first, ~first]).astype(float))])
    curve = tradeoff_curve(population, [0.5, 0.6], ["at most", "at most"], 0, points=[0.1, 0.3], box=[0.0, 0.7])
    for point in curve.points:
        assert point.outcome == "solved"
        assert point.rate == pytest.approx(point.bound, abs=1e-8)
        assert point.multipliers[1] == pytest.approx(0.7)


@pytest.mark.parametrize("elastic", [False, True])
def test_the_error_of_kl(elastic: bool) -> None:
    """120 seeded simulations of two prompts: the stated error is the spread within 25 %, with and without elasticity.

    The ratio of a standard deviation from 120 runs to the truth has a standard error of 6.5 %.
    """
    rng = np.random.default_rng(4)
    outcomes = 14
    log_p0 = [np.log(rng.dirichlet(np.full(outcomes, 2.0))) for _ in range(2)]
    plain = [rng.normal(size=(outcomes, 2)) for _ in range(2)]
    features = [np.column_stack([f[:, 0], f[:, 1] + 0.4 * f[:, 0]]) for f in plain]
    exact = Population([PromptSamples(log + np.log(outcomes), f) for log, f in zip(log_p0, features, strict=True)])
    bounds = exact.moments([0.7, 0.8]).mean  # what multipliers of .7 and .8 attain
    box = [np.inf, 0.4 if elastic else np.inf]
    values, errors, statuses = [], [], set()
    for _ in range(120):
        picks = [rng.choice(outcomes, 600, p=np.exp(log)) for log in log_p0]
        population = Population([PromptSamples(np.zeros(600), f[p]) for f, p in zip(features, picks, strict=True)])
        found = solve_dual(population, bounds, ["at most", "at most"], box=box)
        statuses.add(found.status)
        values.append(found.budget_kl)
        errors.append(kl_error(population, found))
    assert statuses == {("binding", "saturated" if elastic else "binding")}
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.25)


def test_refusals() -> None:
    rng = np.random.default_rng(5)
    _, population = enumerated(rng, 30, 2)
    with pytest.raises(ValueError, match="no budget 2"):
        tradeoff_curve(population, [0.1, 0.0], ["at most", "at most"], 2)
    with pytest.raises(ValueError, match="at least 2 points"):
        curve_of(population, np.zeros(2), ["at most", "at most"], points=1)
    with pytest.raises(ValueError, match="finite bounds"):
        curve_of(population, np.zeros(2), ["at most", "at most"], points=[np.inf])
    with pytest.raises(ValueError, match="each prompt"):
        curve_of(population, np.zeros(2), ["at most", "at most"], each_prompt=[True, False])
    with pytest.raises(ValueError, match="box"):
        curve_of(population, np.zeros(2), ["at most", "at most"], box=[1.0])
