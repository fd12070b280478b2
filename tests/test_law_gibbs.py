"""Identities 1-9, 12 and 13 of LAW.md §5 on an enumerated autoregressive model, to 1e-9."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest

from bylaw.compiler.law.dual import solve_dual
from bylaw.compiler.law.gibbs import ExactLaw, entropy, kl_divergence, total_variation
from bylaw.compiler.law.numerics import EmptySupport
from bylaw.compiler.law.samples import Population, PromptSamples
from tinymodels import MarkovModel, TabularModel, Tokens

EXACT = 1e-9


@pytest.fixture(scope="module")
def model() -> TabularModel:
    return TabularModel(seed=3)


@pytest.fixture(scope="module")
def space(model: TabularModel) -> tuple[list[Tokens], np.ndarray]:
    return model.enumerate()


@pytest.fixture(scope="module")
def law(model: TabularModel, space: tuple[list[Tokens], np.ndarray]) -> ExactLaw:
    responses, log_p0 = space
    text = [model.text(response) for response in responses]
    features = np.array([[t.count(b"a"), len(t), b"1" in t] for t in text], dtype=float)
    reward = np.array([0.7 * t.endswith(b".") - 0.3 * t.count(b"b") for t in text])
    allowed = np.array([b"ab" not in t for t in text])
    return ExactLaw(log_p0, allowed, reward, features, np.array([0.4, -0.2, 0.9]))


def exact_population(law: ExactLaw) -> Population:
    """The enumerated space as one prompt of 'samples' from the uniform proposal: the estimate is then exact."""
    size = law.log_p0.size
    weight = np.where(law.allowed, law.log_p0 + law.reward + np.log(size), -np.inf)
    return Population([PromptSamples(weight, law.features)])


def random_law_on(support: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    log_q = np.full(support.size, -np.inf)
    log_q[support] = np.log(rng.dirichlet(np.ones(int(support.sum()))))
    return log_q


def dual_kl(log_p0: np.ndarray, features: np.ndarray, bounds: np.ndarray) -> tuple[float, np.ndarray]:
    population = Population([PromptSamples(log_p0 + np.log(log_p0.size), features)])
    solution = solve_dual(population, bounds, ["at most"] * bounds.size, tolerance=1e-13, ess_floor=1.0)
    return -solution.dual_value, solution.mu


def test_the_enumeration_is_a_law(space: tuple[list[Tokens], np.ndarray]) -> None:
    responses, log_p0 = space
    assert len(responses) == len(set(responses)) == 19531
    assert np.exp(log_p0).sum() == pytest.approx(1.0, abs=EXACT)


def test_identity_1_free_energy_splits_for_every_q(law: ExactLaw) -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        log_q = random_law_on(law.support, rng)
        reward = float(np.exp(log_q[law.support]) @ law.log_factor[law.support])
        assert law.log_z == pytest.approx(
            reward - kl_divergence(log_q, law.log_p0) + kl_divergence(log_q, law.log_p), abs=EXACT
        )


def test_identity_2_kl_is_mean_reward_minus_log_z(law: ExactLaw) -> None:
    assert law.kl_to_base() == pytest.approx(kl_divergence(law.log_p, law.log_p0), abs=EXACT)


def test_identity_3_gradient_and_hessian_of_log_z(law: ExactLaw) -> None:
    step = 1e-3
    for index in range(3):
        shift = step * np.eye(3)[index]
        far = [law.reweighted(mu=law.mu + k * shift) for k in (-2, -1, 1, 2)]
        # Five-point rule: error O(step⁴), about 1e-12 here. θ = −μ, hence the signs.
        slope = -sum(c * f.log_z for c, f in zip((1, -8, 8, -1), far, strict=True)) / (12 * step)
        assert slope == pytest.approx(law.expectation()[index], abs=EXACT)
        curve = -sum(c * f.expectation() for c, f in zip((1, -8, 8, -1), far, strict=True)) / (12 * step)
        np.testing.assert_allclose(curve, law.covariance()[index], atol=EXACT)


def test_identity_4_hard_rules_only_is_conditioning(law: ExactLaw) -> None:
    hard = law.reweighted(mu=np.zeros(3), reward=np.zeros(law.log_p0.size))
    mass = np.exp(law.log_p0[law.allowed]).sum()
    np.testing.assert_allclose(hard.probabilities[law.allowed], np.exp(law.log_p0[law.allowed]) / mass, atol=EXACT)
    assert hard.probabilities[~law.allowed].max() == 0.0
    assert hard.kl_to_base() == pytest.approx(-np.log(mass), abs=EXACT)


def test_identity_5_shadow_price(law: ExactLaw) -> None:
    features = law.features[:, [0, 2]]
    bounds = np.exp(law.log_p0) @ features - np.array([0.2, 0.1])
    kl, mu = dual_kl(law.log_p0, features, bounds)
    assert (mu > 0).all()
    assert kl == pytest.approx(
        ExactLaw(law.log_p0, np.ones_like(law.allowed), 0 * law.reward, features, mu).kl_to_base()
    )
    step = 2e-3
    for index in range(2):
        shift = step * np.eye(2)[index]
        far = [dual_kl(law.log_p0, features, bounds + k * shift)[0] for k in (-3, -2, -1, 1, 2, 3)]
        # the rule of six points: its own error is O(step⁶), far below the tolerance
        slope = sum(c * f for c, f in zip((-1, 9, -45, 45, -9, 1), far, strict=True)) / (60 * step)
        assert slope == pytest.approx(-mu[index], abs=EXACT)


def test_identity_6_scale_and_constants(law: ExactLaw) -> None:
    doubled = ExactLaw(law.log_p0, law.allowed, law.reward, 2.0 * law.features, 0.5 * law.mu)
    np.testing.assert_allclose(doubled.probabilities, law.probabilities, atol=EXACT)
    shifted = law.reweighted(reward=law.reward + 3.25)
    np.testing.assert_allclose(shifted.probabilities, law.probabilities, atol=EXACT)
    assert shifted.log_z == pytest.approx(law.log_z + 3.25, abs=EXACT)
    assert shifted.kl_to_base() == pytest.approx(law.kl_to_base(), abs=EXACT)


def test_identity_7_independent_features() -> None:
    rates, bounds = np.array([0.4, 0.15, 0.7]), np.array([0.1, 0.3, 0.25])
    outcomes = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T.astype(float)
    log_p0 = (outcomes * np.log(rates) + (1 - outcomes) * np.log1p(-rates)).sum(axis=1)
    kl, mu = dual_kl(log_p0, outcomes, bounds)
    predicted = np.maximum(np.log(rates * (1 - bounds) / ((1 - rates) * bounds)), 0.0)
    np.testing.assert_allclose(mu, predicted, atol=EXACT)
    assert mu[1] == 0.0
    met = np.minimum(rates, bounds)
    parts = met * np.log(met / rates) + (1 - met) * np.log((1 - met) / (1 - rates))
    assert kl == pytest.approx(parts.sum(), abs=EXACT)


def test_identity_8_pythagoras_of_the_projection(law: ExactLaw) -> None:
    """KL(q‖p0) = KL(q‖p*) + KL(p*‖p0) for q that meets the same moments; ≥ for q on the convex set."""
    rng = np.random.default_rng(1)
    features = law.features[:, :1]
    bound = np.exp(law.log_p0) @ features - 0.25
    _, mu = dual_kl(law.log_p0, features, bound)
    star = ExactLaw(law.log_p0, np.ones_like(law.allowed), 0 * law.reward, features, mu)
    # Another law with the same moment: tilt p0 by a random reward, then solve for its own multiplier.
    bumps = 0.5 * rng.normal(size=law.log_p0.size)
    bumped = ExactLaw(law.log_p0, np.ones_like(law.allowed), bumps, features, np.zeros(1))
    _, other_mu = dual_kl(bumped.log_p, features, bound)
    other = bumped.reweighted(mu=other_mu)
    assert other.expectation()[0] == pytest.approx(bound[0], abs=1e-11)
    assert kl_divergence(other.log_p, law.log_p0) == pytest.approx(
        kl_divergence(other.log_p, star.log_p) + star.kl_to_base(), abs=EXACT
    )
    inside = bumped.reweighted(mu=other_mu + 0.3)
    assert kl_divergence(inside.log_p, law.log_p0) >= kl_divergence(inside.log_p, star.log_p) + star.kl_to_base()


def test_identity_9_importance_weights(law: ExactLaw) -> None:
    base, factor = np.exp(law.log_p0), np.exp(law.log_factor)
    z = np.exp(law.log_z)
    assert base @ factor == pytest.approx(z, abs=EXACT)
    acceptance = base @ (factor / factor.max())
    assert acceptance == pytest.approx(z / factor.max(), abs=EXACT)
    # The exact space as a proposal of its own: ESS/N with N copies in proportion p0 tends to Z² / E e^{2R}.
    ratio = z**2 / (base @ factor**2)
    rng = np.random.default_rng(2)
    picks = rng.choice(base.size, 200_000, p=base / base.sum())
    population = Population([PromptSamples(law.log_factor[picks], law.features[picks])])
    assert population.moments(np.zeros(3)).ess / 200_000 == pytest.approx(ratio, rel=0.02)


@pytest.mark.parametrize("count", [2, 5, 16])
def test_identity_12_best_of_n(law: ExactLaw, count: int) -> None:
    """The best of n draws by reward has KL ≤ log n − (n−1)/n to the base law, equality only without ties and atoms."""
    reward = law.log_factor + 1e-9 * np.arange(law.log_p0.size)  # break ties by index
    order = np.argsort(reward)
    cumulative = np.exp(law.log_p0[order]).cumsum()
    before = np.concatenate([[0.0], cumulative[:-1]])
    log_best = np.full(order.size, -np.inf)
    log_best[order] = np.log(cumulative**count - before**count)
    exact_kl = kl_divergence(log_best, law.log_p0)
    assert 0.0 < exact_kl <= np.log(count) - (count - 1) / count + EXACT


def test_identity_13_chain_rule_over_tokens(
    model: TabularModel, space: tuple[list[Tokens], np.ndarray], law: ExactLaw
) -> None:
    """∏ p*(w|h) = p*(y) and KL(p*‖p0) = Σ_h p*(h) KL(p*(.|h)‖p0(.|h)), both from prefix masses."""
    responses, log_p0 = space
    star: dict[Tokens, float] = defaultdict(float)
    base: dict[Tokens, float] = defaultdict(float)
    for response, p, q in zip(responses, law.probabilities, np.exp(log_p0), strict=True):
        ended = (*response, model.eos_id) if len(response) < model.max_tokens else response
        for length in range(len(ended) + 1):
            star[ended[:length]] += p
            base[ended[:length]] += q
    total = 0.0
    for node, mass in star.items():
        if node and mass > 0.0:
            parent = node[:-1]
            total += mass * (np.log(mass / star[parent]) - np.log(base[node] / base[parent]))
    assert total == pytest.approx(law.kl_to_base(), abs=EXACT)
    chosen = np.flatnonzero(law.support)[::97]
    following = model.next_log_probs([responses[i][:-1] for i in chosen if responses[i]])
    for row, i in zip(following, [i for i in chosen if responses[i]], strict=True):
        response = responses[i]
        ended = (*response, model.eos_id) if len(response) < model.max_tokens else response
        steps = [np.log(star[ended[: k + 1]] / star[ended[:k]]) for k in range(len(ended))]
        assert sum(steps) == pytest.approx(law.log_p[i], abs=EXACT)
        assert np.log(base[response] / base[response[:-1]]) == pytest.approx(row[response[-1]], abs=EXACT)


def test_bellman_value_function_matches_enumeration_and_scales() -> None:
    rng = np.random.default_rng(4)
    size = 4
    reward = rng.normal(0.0, 0.5, size=(size, size, size))
    reward[0, 1, 2] = -np.inf  # never "a b c" in a row
    small = MarkovModel(max_tokens=6, seed=1)
    responses, log_p0 = small.enumerate()
    totals = np.array([small.total_reward(response, reward) for response in responses])
    allowed = totals > -np.inf
    law = ExactLaw(log_p0, allowed, totals, np.zeros((totals.size, 0)), np.zeros(0))
    assert small.log_partition(reward) == pytest.approx(law.log_z, abs=EXACT)
    # Masking and renormalising samples p0(y)/∏Z_k; its weight ∏Z_k has mean p0(H).
    assert MarkovModel(max_tokens=200, seed=1).log_partition(np.zeros((size,) * 3)) == pytest.approx(0.0, abs=EXACT)


def test_masking_weights_repair_the_masked_law() -> None:
    model = MarkovModel(max_tokens=5, seed=2)
    responses, log_p0 = model.enumerate()
    allowed = np.array([all(pair != (0, 1) for pair in pairwise(r)) for r in responses])
    table = np.exp(model.table)
    log_kept = np.array(
        [
            sum(
                np.log1p(-table[(3, 3, *r)[k], (3, 3, *r)[k + 1], 1]) if (3, 3, *r)[k + 1] == 0 else 0.0
                for k in range(min(len(r) + 1, 5))
            )
            for r in responses
        ]
    )
    masked = np.exp(log_p0[allowed] - log_kept[allowed])
    assert masked.sum() == pytest.approx(1.0, abs=EXACT)
    assert masked @ np.exp(log_kept[allowed]) == pytest.approx(np.exp(log_p0[allowed]).sum(), abs=EXACT)


def test_expectation_ignores_values_off_the_support(law: ExactLaw) -> None:
    poisoned = np.where(law.allowed, law.reward, np.nan)
    assert np.isfinite(law.expectation(poisoned))
    np.testing.assert_allclose(exact_population(law).moments(law.mu).mean, law.expectation(), atol=EXACT)
    assert exact_population(law).moments(law.mu).log_z[0] == pytest.approx(law.log_z, abs=EXACT)


def test_divergence_helpers() -> None:
    with np.errstate(divide="ignore"):
        left, right = np.log([0.5, 0.5, 0.0]), np.log([0.25, 0.5, 0.25])
    assert kl_divergence(left, right) == pytest.approx(0.5 * np.log(2.0))
    assert kl_divergence(right, left) == np.inf
    assert total_variation(left, right) == pytest.approx(0.25)
    assert entropy(left) == pytest.approx(np.log(2.0))


def test_refusals(law: ExactLaw) -> None:
    with pytest.raises(EmptySupport):
        law.reweighted(allowed=np.zeros_like(law.allowed))
    with pytest.raises(ValueError, match="normalised"):
        ExactLaw(law.log_p0 - 0.1, law.allowed, law.reward, law.features, law.mu)
    with pytest.raises(ValueError, match="hard rule"):
        law.reweighted(mu=np.array([np.inf, 0.0, 0.0]))
    with pytest.raises(ValueError, match="columns"):
        law.reweighted(mu=np.zeros(2))
    with pytest.raises(ValueError, match="finite on the support"):
        law.reweighted(reward=np.where(law.allowed, -np.inf, 0.0))
