"""The exact law on an enumerated autoregressive model; the identities of LAW.md §5 are in test_law_identities.py."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

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


def test_the_enumeration_is_a_law(space: tuple[list[Tokens], np.ndarray]) -> None:
    responses, log_p0 = space
    assert len(responses) == len(set(responses)) == 19531
    assert np.exp(log_p0).sum() == pytest.approx(1.0, abs=EXACT)


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
