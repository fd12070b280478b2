"""KL per rule: Shapley shares against brute force over permutations, sums, errors, and agreement with the exact law."""

from __future__ import annotations

from itertools import permutations as all_orders

import numpy as np
import pytest

from bylaw.compiler.law.gibbs import ExactLaw
from bylaw.compiler.law.numerics import EmptySupport
from bylaw.compiler.law.prices import (
    PricedPrompt,
    balance_log_ratio,
    interaction_matrix,
    shapley,
    total_kl,
)
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
    assert found.exact
    assert found.coalitions == 2**terms
    np.testing.assert_allclose(found.shares, brute_shapley(prompts, terms), atol=1e-12)
    assert found.shares.sum() == pytest.approx(found.total.value, abs=1e-14)
    assert found.total.value == pytest.approx(brute_value(prompts, tuple(range(terms))), abs=1e-12)
    for term in range(terms):
        others = tuple(other for other in range(terms) if other != term)
        assert found.alone[term] == pytest.approx(brute_value(prompts, (term,)), abs=1e-12)
        assert found.last[term] == pytest.approx(found.total.value - brute_value(prompts, others), abs=1e-12)
    np.testing.assert_allclose(found.prompt_shares.mean(axis=0), found.shares, atol=1e-12)


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
        interaction_matrix([prompt], [oriented]), law.covariance(oriented), rtol=1e-9, atol=1e-12
    )
    default = interaction_matrix([prompt])
    assert (default[0] == 0.0).all()  # the hard rule is constant under the law
    np.testing.assert_allclose(default[1:, 1:], law.covariance(factors[:, 1:]), rtol=1e-9, atol=1e-12)


def test_tension_is_negative() -> None:
    """A wish for length and a cap on a word that comes with length pull against each other."""
    rng = np.random.default_rng(0)
    length = rng.normal(size=4000)
    word = length + 0.3 * rng.normal(size=4000)
    prompt = PricedPrompt(np.zeros(4000), np.column_stack([0.5 * length, -0.4 * word]))
    assert interaction_matrix([prompt])[0, 1] < 0.0


def test_permutations_beyond_the_exact_range(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = random_prompts(np.random.default_rng(5), 2, 60, 8)
    exact = shapley(prompts)
    monkeypatch.setattr("bylaw.compiler.law.prices.EXACT_TERMS", 4)
    drawn = shapley(prompts, permutations=300, seed=1)
    assert not drawn.exact
    assert drawn.shares.sum() == pytest.approx(exact.total.value, abs=1e-14)
    assert (drawn.permutation_error > 0.0).all()
    # Eight standardised errors: the largest is beyond 4 with probability below 0.1 %.
    assert (np.abs(drawn.shares - exact.shares) <= 4.0 * drawn.permutation_error + 1e-12).all()
    np.testing.assert_allclose(drawn.standard_error, exact.standard_error, rtol=0.2)
    again = shapley(prompts, permutations=300, seed=1)
    assert np.array_equal(drawn.shares, again.shares)


def test_thirteen_terms_use_permutations() -> None:
    found = shapley(random_prompts(np.random.default_rng(6), 2, 40, 13), permutations=30)
    assert not found.exact
    assert found.shares.sum() == pytest.approx(found.total.value, abs=1e-13)


def test_estimates_from_pooled_samples_and_their_errors() -> None:
    """Samples pooled from p0 and a masked proposal with balance weights: KL and shares against the exact values.

    300 seeded repetitions: each standard error must match the actual spread within 20 %, and the mean error must be
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
    exact = shapley([PricedPrompt(log_p0, factors)])
    log_q = log_p0 + np.array([0.8 * t.endswith(b".") for t in text])
    log_q -= np.log(np.exp(log_q).sum())
    rng = np.random.default_rng(10)
    shares, errors, totals = [], [], []
    for _ in range(300):
        picks = np.concatenate(
            [
                rng.choice(log_p0.size, 500, p=np.exp(log_p0) / np.exp(log_p0).sum()),
                rng.choice(log_p0.size, 300, p=np.exp(log_q) / np.exp(log_q).sum()),
            ]
        )
        ratio = balance_log_ratio(log_p0[picks], log_q[picks], 500, 300)
        found = shapley([PricedPrompt(ratio, factors[picks])])
        shares.append(found.shares)
        errors.append(found.standard_error)
        low, high = found.total.interval
        totals.append(low <= exact.total.value <= high)
    spread = np.std(shares, axis=0)
    np.testing.assert_allclose(np.mean(errors, axis=0), spread, rtol=0.2)
    np.testing.assert_allclose(np.mean(shares, axis=0), exact.shares, atol=float(4 * spread.max() / 300**0.5 + 2e-3))
    # Binomial(300, .95) leaves [.91, .98] with probability below 0.6 %.
    assert 0.91 <= np.mean(totals) <= 0.98


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
