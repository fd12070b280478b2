"""KL per rule: Shapley shares against brute force, the path integral against its definition, errors by simulation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations as all_orders

import numpy as np
import pytest
from scipy.integrate import quad

from bylaw.compiler.law.dual import solve_dual
from bylaw.compiler.law.gibbs import ExactLaw
from bylaw.compiler.law.interactions import interactions, redundant_budgets
from bylaw.compiler.law.numerics import EmptySupport
from bylaw.compiler.law.path_prices import _one_prompt, attribute, integrate, path_integral
from bylaw.compiler.law.prices import (
    Attribution,
    PricedPrompt,
    all_coalitions,
    all_set_values,
    balance_log_ratio,
    shapley,
    total_kl,
)
from bylaw.compiler.law.samples import Population, PromptSamples
from tinymodels import TabularModel


def random_prompts(rng: np.random.Generator, count: int, samples: int, terms: int) -> list[PricedPrompt]:
    prompts = []
    for _ in range(count):
        factors = rng.normal(0.0, 0.5, (samples, terms))
        factors[:, 0] = np.where(rng.random(samples) < 0.3, -np.inf, 0.0)
        prompts.append(PricedPrompt(rng.normal(0.0, 0.2, samples), factors))
    return prompts


def brute_value(prompts: list[PricedPrompt], members: tuple[int, ...]) -> float:
    """v(S) as the KL between two discrete laws on the sample, straight from its definition."""
    total = 0.0
    for prompt in prompts:
        base = np.exp(prompt.log_base_ratio)
        base /= base.sum()
        exponent = prompt.log_factors[:, list(members)].sum(axis=1)
        tilted = base * np.exp(exponent - exponent.max())
        tilted /= tilted.sum()
        kept = tilted > 0
        total += float(tilted[kept] @ np.log(tilted[kept] / base[kept]))
    return total / len(prompts)


def brute_shapley(prompts: list[PricedPrompt], terms: int) -> np.ndarray:
    shares = np.zeros(terms)
    orders = list(all_orders(range(terms)))
    for order in orders:
        for place, term in enumerate(order):
            shares[term] += brute_value(prompts, order[: place + 1]) - brute_value(prompts, order[:place])
    return shares / len(orders)


@pytest.mark.parametrize("terms", [1, 2, 4])
def test_shapley_equals_brute_force_over_orders(terms: int) -> None:
    prompts = random_prompts(np.random.default_rng(terms), 3, 50, terms)
    found = shapley(prompts)
    assert found.approximation_error.max() == 0.0
    assert found.evaluations == 2**terms
    np.testing.assert_allclose(found.shares, brute_shapley(prompts, terms), atol=1e-12)
    assert found.shares.sum() == pytest.approx(found.total.value, abs=1e-14)
    assert found.total.value == pytest.approx(brute_value(prompts, tuple(range(terms))), abs=1e-12)
    for term in range(terms):
        others = tuple(other for other in range(terms) if other != term)
        assert found.alone[term] == pytest.approx(brute_value(prompts, (term,)), abs=1e-12)
        assert found.last[term] == pytest.approx(found.total.value - brute_value(prompts, others), abs=1e-12)
    np.testing.assert_allclose(found.prompt_shares.mean(axis=0), found.shares, atol=1e-12)


@pytest.mark.parametrize("terms", [1, 2, 5])
def test_values_of_all_sets_of_many_samples_are_those_of_each(terms: int) -> None:
    rng = np.random.default_rng(30 + terms)
    prompts = []
    for size in (200, 350):  # few different rows, as rules make them, and one that two rules forbid
        factors = rng.integers(-2, 2, (size, terms)) * 0.4
        factors[rng.random((size, terms)) < 0.1] = -np.inf
        factors[0] = 0.0
        prompts.append(PricedPrompt(rng.normal(0.0, 0.2, size), factors))
    found = all_set_values(prompts)
    assert found is not None
    expected = [brute_value(prompts, tuple(np.flatnonzero(members))) for members in all_coalitions(terms)[0]]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found @ all_coalitions(terms)[1], shapley(prompts).shares, atol=1e-12)
    both = PricedPrompt([0.0, 0.0], [[-2000.0, 0.0], [0.0, -2000.0]])  # together they leave no weight beside each alone
    assert all_set_values([both]) is None


def test_underflowing_weights_take_the_log_space_path() -> None:
    """Every sample is 2000 nats down in one term or another: linear weights vanish, shares must not notice."""
    rng = np.random.default_rng(11)
    factors = rng.normal(0.0, 0.5, (40, 3))
    factors[:20, 0] -= 2000.0
    factors[20:, 1] -= 2000.0
    found = shapley([PricedPrompt(np.zeros(40), factors)])
    assert np.isfinite(found.shares).all()
    np.testing.assert_allclose(found.shares, brute_shapley([PricedPrompt(np.zeros(40), factors)], 3), atol=1e-9)


def test_independent_rules_pay_for_themselves_and_idle_rules_nothing() -> None:
    """On a product space KL adds up over rules, so each share is the rule's own KL; a zero factor pays zero."""
    left, right = np.meshgrid(np.log([0.2, 0.8]), np.log([0.5, 0.3, 0.2]), indexing="ij")
    log_p0 = (left + right).ravel()
    factors = np.zeros((6, 3))
    factors[:, 0] = np.repeat([0.0, -1.3], 3)
    factors[:, 1] = np.tile([0.0, -np.inf, 0.4], 2)
    found = shapley([PricedPrompt(log_p0, factors)])
    np.testing.assert_allclose(found.shares, [found.alone[0], found.alone[1], 0.0], atol=1e-12)
    assert found.total.value == pytest.approx(found.alone[:2].sum(), abs=1e-12)
    assert np.isnan(found.prompt_error).all()


def test_exact_space_reproduces_the_exact_law() -> None:
    model = TabularModel(max_tokens=4, seed=8)
    responses, log_p0 = model.enumerate()
    text = [model.text(response) for response in responses]
    reward = np.array([0.8 * t.endswith(b".") for t in text])
    features = np.array([[t.count(b"a")] for t in text], dtype=float)
    allowed = np.array([b"1" not in t for t in text])
    law = ExactLaw(log_p0, allowed, reward, features, np.array([0.6]))
    factors = np.column_stack([np.where(allowed, 0.0, -np.inf), reward, -0.6 * features[:, 0]])
    prompt = PricedPrompt(log_p0, factors)
    assert total_kl([prompt]).value == pytest.approx(law.kl_to_base(), abs=1e-10)
    oriented = np.column_stack([reward, -features[:, 0]])
    np.testing.assert_allclose(
        interactions([prompt], [oriented]).covariance, law.covariance(oriented), rtol=1e-9, atol=1e-12
    )
    default = interactions([prompt]).covariance
    assert (default[0] == 0.0).all()  # the hard rule is constant under the law
    np.testing.assert_allclose(default[1:, 1:], law.covariance(factors[:, 1:]), rtol=1e-9, atol=1e-12)


def by_definition(prompt: PricedPrompt) -> np.ndarray:
    """The shares of the path integral by scipy's quadrature over the two paths, straight from their definitions."""
    base = np.exp(prompt.log_base_ratio)
    base /= base.sum()
    forbidden = np.isneginf(prompt.log_factors)
    broken = forbidden.sum(axis=1)
    finite = np.where(forbidden, 0.0, prompt.log_factors)
    total = finite.sum(axis=1)

    def hard(u: float, rule: int) -> float:
        weight = base * np.exp(-u * broken)
        return float(weight @ forbidden[:, rule] / weight.sum())

    def soft(t: float, rule: int) -> float:
        weight = np.where(broken == 0, base * np.exp(t * (total - total.max())), 0.0)
        weight /= weight.sum()
        return t * float(weight @ (finite[:, rule] * total) - (weight @ finite[:, rule]) * (weight @ total))

    options = {"epsabs": 1e-12, "epsrel": 1e-12, "limit": 400}
    return np.array(
        [
            quad(hard, 0.0, np.inf, args=(rule,), **options)[0] + quad(soft, 0.0, 1.0, args=(rule,), **options)[0]
            for rule in range(finite.shape[1])
        ]
    )


@pytest.mark.parametrize("seed", range(6))
def test_the_path_integral_is_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prompts = random_prompts(rng, 2, 40, 5)
    factors = prompts[1].log_factors.copy()
    factors[rng.random(40) < 0.2, 3] = -np.inf  # a second hard rule, which is soft where it holds
    factors[0] = 0.1
    prompts[1] = PricedPrompt(prompts[1].log_base_ratio, factors)
    found = path_integral(prompts)
    np.testing.assert_allclose(found.prompt_shares, [by_definition(prompt) for prompt in prompts], atol=1e-9)
    assert found.shares.sum() == pytest.approx(found.total.value, abs=1e-14)
    assert found.total.value == pytest.approx(brute_value(prompts, tuple(range(5))), abs=1e-12)
    assert found.approximation_error.max() < 1e-8
    np.testing.assert_allclose(found.alone, shapley(prompts).alone, atol=1e-12)
    np.testing.assert_allclose(found.last, shapley(prompts).last, atol=1e-12)


def test_the_path_agrees_with_shapley_for_independent_rules() -> None:
    """Two hard rules and three soft ones, all independent: both methods give each rule what it costs alone."""
    coins = np.array(np.meshgrid(*[[0.0, 1.0]] * 5, indexing="ij")).reshape(5, -1).T
    chance = np.array([0.2, 0.01, 0.5, 0.3, 0.7])
    log_p0 = (coins * np.log(chance) + (1 - coins) * np.log1p(-chance)).sum(axis=1)
    factors = np.where(coins == 1.0, [-np.inf, -np.inf, -1.5, 2.0, -0.1], 0.0)
    prompt = PricedPrompt(log_p0, factors)
    found, expected = path_integral([prompt]), shapley([prompt])
    np.testing.assert_allclose(found.shares, expected.shares, atol=1e-9)
    np.testing.assert_allclose(found.shares, found.alone, atol=1e-9)
    np.testing.assert_allclose(found.shares[:2], -np.log1p(-chance[:2]), atol=1e-9)
    # A copied hard rule costs nothing more, and both pay half; so do copied soft rules of half the weight.
    twice = path_integral([PricedPrompt(log_p0, np.column_stack([factors[:, 0], factors[:, 0]]))])
    np.testing.assert_allclose(twice.shares, [-0.5 * np.log(0.8)] * 2, atol=1e-9)
    halves = path_integral([PricedPrompt(log_p0, np.column_stack([0.5 * factors[:, 2]] * 2))])
    np.testing.assert_allclose(halves.shares, [0.5 * found.shares[2]] * 2, atol=1e-9)


def test_the_path_at_its_extremes() -> None:
    """Hard rules that leave 1e-9 of the base law, factors of thousands of nats, and rules that change nothing."""
    chance = np.array([1.0 - 1e-9, 0.5e-9, 0.5e-9])
    factors = np.array([[-np.inf, -np.inf, 3.0], [0.0, 0.0, 3.0], [0.0, 0.0, 3.0]])
    found = path_integral([PricedPrompt(np.log(chance), factors)])
    np.testing.assert_allclose(found.shares, [-0.5 * np.log(1e-9)] * 2 + [0.0], atol=1e-7)
    rng = np.random.default_rng(12)
    steep = rng.normal(0.0, 0.5, (40, 3))
    steep[:20, 0] -= 2000.0
    steep[20:, 1] -= 3000.0
    found = path_integral([PricedPrompt(np.zeros(40), steep)])
    assert found.total.value == pytest.approx(brute_value([PricedPrompt(np.zeros(40), steep)], (0, 1, 2)), abs=1e-9)
    assert found.approximation_error.max() < 1e-6
    same = path_integral([PricedPrompt(np.zeros(9), np.full((9, 2), -700.0))])
    assert np.abs(same.shares).max() < 1e-12


def test_what_a_sample_moves() -> None:
    """The influence of every sample on every share against a difference in its weight, and their sums on the total."""
    prompt = random_prompts(np.random.default_rng(13), 1, 12, 3)[0]
    found = _one_prompt(prompt)
    step = 1e-4
    for sample in range(12):
        moved = [
            _one_prompt(PricedPrompt(prompt.log_base_ratio + sign * step * np.eye(12)[sample], prompt.log_factors))
            for sign in (1, -1)
        ]
        # The weight of a sample moves by the exponential of what its logarithm does.
        slope = (moved[0].shares - moved[1].shares) / (2 * step)
        np.testing.assert_allclose(found.influence[sample], slope, atol=1e-8)
    whole = path_integral([prompt])
    assert np.sqrt(np.square(found.influence.sum(axis=1)).sum()) == pytest.approx(whole.total.standard_error, rel=1e-9)


def test_thirteen_terms_take_the_path() -> None:
    twelve, thirteen = (random_prompts(np.random.default_rng(6), 2, 40, terms) for terms in (12, 13))
    assert attribute(twelve).method == "Shapley value over all sets of rules"
    found = attribute(thirteen)
    assert found.method == "path integral from the base law"
    assert found.shares.sum() == pytest.approx(found.total.value, abs=1e-13)
    with pytest.raises(ValueError, match="13 terms"):
        shapley(thirteen)


def test_integrate() -> None:
    value, error, nodes, weights = integrate(lambda t: np.stack([np.exp(t), 1.0 / (1e-6 + t), np.sqrt(t)]), 3)
    exact = [np.e - 1.0, np.log1p(1e6), 2.0 / 3.0]
    np.testing.assert_allclose(value, exact, atol=1e-9)
    assert (np.abs(value - exact) <= error + 1e-14).all()
    assert weights @ np.exp(nodes) == pytest.approx(np.e - 1.0, abs=1e-13)


@pytest.mark.parametrize("method", [shapley, path_integral])
def test_estimates_from_pooled_samples_and_their_errors(method: Callable[..., Attribution]) -> None:
    """Samples pooled from p0 and a masked proposal with balance weights: KL and shares against the exact values.

    200 seeded repetitions: each standard error must match the actual spread within 20 %, and the mean error must be
    within 4 standard errors of the mean plus the O(1/N) bias of self-normalisation.
    """
    model = TabularModel(max_tokens=3, seed=9)
    responses, log_p0 = model.enumerate()
    text = [model.text(response) for response in responses]
    factors = np.column_stack(
        [
            np.array([-np.inf if b"ab" in t else 0.0 for t in text]),
            np.array([0.9 * t.endswith(b".") for t in text]),
            np.array([-0.7 * t.count(b"a") for t in text]),
        ]
    )
    exact = method([PricedPrompt(log_p0, factors)])
    log_q = log_p0 + np.array([0.8 * t.endswith(b".") for t in text])
    log_q -= np.log(np.exp(log_q).sum())
    rng = np.random.default_rng(10)
    shares, errors, totals = [], [], []
    for _ in range(200):
        picks = np.concatenate(
            [
                rng.choice(log_p0.size, 500, p=np.exp(log_p0) / np.exp(log_p0).sum()),
                rng.choice(log_p0.size, 300, p=np.exp(log_q) / np.exp(log_q).sum()),
            ]
        )
        ratio = balance_log_ratio(log_p0[picks], log_q[picks], 500, 300)
        found = method([PricedPrompt(ratio, factors[picks])])
        shares.append(found.shares)
        errors.append(found.standard_error)
        low, high = found.total.interval
        totals.append(low <= exact.total.value <= high)
    spread = np.std(shares, axis=0)
    np.testing.assert_allclose(np.mean(errors, axis=0), spread, rtol=0.2)
    np.testing.assert_allclose(np.mean(shares, axis=0), exact.shares, atol=float(4 * spread.max() / 200**0.5 + 2e-3))
    # Binomial(200, .95) leaves [.9, .985] with probability below 0.6 %.
    assert 0.9 <= np.mean(totals) <= 0.985


def test_balance_ratio() -> None:
    log_p0, log_q = np.log([0.2, 0.8]), np.array([np.log(0.5), -np.inf])
    np.testing.assert_allclose(balance_log_ratio(log_p0, log_q, 1, 1), np.log([0.2 / 0.35, 2.0]))
    np.testing.assert_allclose(balance_log_ratio(log_p0, log_q, 5, 0), 0.0, atol=1e-15)
    with pytest.raises(ValueError, match="probability zero"):
        balance_log_ratio(log_p0, log_q, 0, 5)
    with pytest.raises(ValueError, match="counts"):
        balance_log_ratio(log_p0, log_q, 0, 0)


def test_no_terms_and_refusals() -> None:
    nothing = shapley([PricedPrompt(np.zeros(5), np.zeros((5, 0)))])
    assert nothing.shares.shape == (0,)
    assert nothing.total.value == pytest.approx(0.0, abs=1e-15)
    with pytest.raises(EmptySupport) as caught:
        shapley([PricedPrompt([0.0], [[0.0]]), PricedPrompt([0.0, -np.inf], [[-np.inf], [0.0]])])
    assert caught.value.prompts == (1,)
    with pytest.raises(ValueError, match="below"):
        PricedPrompt([0.0], [[np.inf]])
    with pytest.raises(ValueError, match="number of terms"):
        total_kl([PricedPrompt([0.0], [[0.0]]), PricedPrompt([0.0], [[0.0, 0.0]])])


# ------------------------------------------------------------------------------------------------------ interactions
def test_tension_is_only_said_beyond_its_error() -> None:
    """A wish for length and a cap on a word that comes with length pull against each other; unrelated rules do not."""
    rng = np.random.default_rng(0)
    length = rng.normal(size=4000)
    word = length + 0.3 * rng.normal(size=4000)
    aside = rng.normal(size=(4000, 2))
    found = interactions([PricedPrompt(np.zeros(4000), np.column_stack([0.5 * length, -0.4 * word, 0.1 * aside]))])
    assert found.told_apart() == ((0, 1),)
    assert found.correlation[0, 1] < -0.9
    np.testing.assert_allclose(np.diag(found.correlation), 1.0)
    np.testing.assert_allclose(np.diag(found.correlation_error), 0.0, atol=1e-9)
    with pytest.raises(ValueError, match="false alarm"):
        found.told_apart(0.0)


def test_false_alarms_are_as_stated() -> None:
    """300 seeded sets of 6 unrelated rules, weighted: some pair is told apart in about 5 % of them.

    Binomial(300, .05) is above 29 with probability below 0.1 %.
    """
    rng = np.random.default_rng(20)
    alarms = 0
    for _ in range(300):
        prompts = [PricedPrompt(rng.normal(0.0, 0.3, 400), 0.05 * rng.normal(size=(400, 6))) for _ in range(2)]
        alarms += bool(interactions(prompts).told_apart())
    assert alarms <= 29


def test_rare_rules_that_never_met_are_not_told_apart() -> None:
    """200 seeded sets of 4 unrelated rules broken in 3 % of 2,000 responses: pairs that never meet are no tension.

    Two of them meet 1.8 times on average and in one set of six pairs out of three not at all. Binomial(200, .05) is
    above 21 with probability below 0.1 %.
    """
    rng = np.random.default_rng(23)
    alarms = never = 0
    for _ in range(200):
        broken = (rng.random((2000, 4)) < 0.03).astype(float)
        met = broken.T @ broken
        never += bool((met[np.triu_indices(4, 1)] == 0).any())
        alarms += bool(interactions([PricedPrompt(np.zeros(2000), -0.1 * broken)]).told_apart())
    assert never > 60
    assert alarms <= 21
    # Rules that shut each other out are told apart all the same.
    kind = rng.choice(3, 2000, p=(0.3, 0.3, 0.4))
    apart = interactions([PricedPrompt(np.zeros(2000), -0.1 * (kind[:, None] == [0, 1]))])
    assert apart.told_apart() == ((0, 1),)
    assert apart.correlation[0, 1] < 0.0


def test_errors_of_interactions() -> None:
    """200 seeded simulations: stated errors of covariances and correlations are their spreads within 25 %."""
    rng = np.random.default_rng(21)
    features = rng.normal(size=(30, 3)) @ np.array([[1.0, 0.6, 0.0], [0.0, 1.0, -0.4], [0.0, 0.0, 1.0]])
    factors = features * [0.3, -0.2, 0.5]
    chances = rng.dirichlet(np.ones(30))
    found = []
    for _ in range(200):
        picks = [rng.choice(30, 500, p=chances) for _ in range(2)]
        found.append(
            interactions([PricedPrompt(np.zeros(500), factors[p]) for p in picks], [features[p] for p in picks])
        )
    for value, error in (("covariance", "covariance_error"), ("correlation", "correlation_error")):
        spread = np.std([getattr(each, value) for each in found], axis=0)
        stated = np.mean([getattr(each, error) for each in found], axis=0)
        off = ~np.eye(3, dtype=bool) if value == "correlation" else np.ones((3, 3), dtype=bool)
        np.testing.assert_allclose(stated[off], spread[off], rtol=0.25)
    exact = interactions([PricedPrompt(np.log(chances), factors)], [features])
    np.testing.assert_allclose(np.mean([each.correlation for each in found], axis=0), exact.correlation, atol=0.02)


def test_redundant_budgets() -> None:
    rng = np.random.default_rng(22)
    population = Population([PromptSamples(np.zeros(2000), rng.random((2000, 3)))])
    base = population.moments(np.zeros(3))
    error = float(np.sqrt(base.mean_variance[2, 2]))
    bounds = [0.3, 0.9, float(base.mean[2]) + 0.3 * error]
    first, second = redundant_budgets(solve_dual(population, bounds, ["at most"] * 3))
    assert (first.index, first.is_certain) == (1, True)
    assert (second.index, second.is_certain) == (2, False)
    assert second.ceiling > 0.0
