"""Quick ways to the moments of a population against the slow one: equal rows counted once, products corrected."""

from __future__ import annotations

import numpy as np
import pytest

from bylaw.compiler.law.rows import binary_rows
from bylaw.compiler.law.samples import Population, PromptSamples

BUDGETS = 4


def samples(rng: np.random.Generator, size: int, spread: float) -> PromptSamples:
    weight = rng.normal(0.0, spread, size)
    weight[rng.random(size) < 0.2] = -np.inf
    weight[0] = 0.0
    return PromptSamples(weight, (rng.random((size, BUDGETS)) < rng.random(BUDGETS)).astype(np.float64))


def slowly(prompts: list[PromptSamples], mu: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(log Z [X], mean [J], covariance [J, J]) by their definitions, prompt by prompt."""
    log_z, means, covariances = [], [], []
    for prompt in prompts:
        tilted = prompt.log_weight - prompt.features @ mu
        peak = tilted.max()
        weight = np.exp(tilted - peak)
        log_z.append(peak + np.log(weight.mean()))
        weight /= weight.sum()
        mean = weight @ prompt.features
        centred = prompt.features - mean
        means.append(mean)
        covariances.append((centred * weight[:, None]).T @ centred)
    return np.array(log_z), np.mean(means, axis=0), np.mean(covariances, axis=0)


@pytest.mark.parametrize("spread", [1.0, 40.0, 400.0])
@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_moments_are_those_of_the_definition(spread: float, count: int, shift: float) -> None:
    """0/1 features take the quick way, shifted ones do not; weights over hundreds of nats must not be lost."""
    rng = np.random.default_rng([int(spread), count])
    prompts = [samples(rng, 3_000, spread) for _ in range(count)]
    prompts = [PromptSamples(each.log_weight, each.features + shift) for each in prompts]
    mu = rng.normal(size=BUDGETS)
    found = Population(prompts).moments(mu)
    log_z, mean, covariance = slowly(prompts, mu)
    np.testing.assert_allclose(found.log_z, log_z, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-6 if shift else 1e-9, atol=1e-9)


def test_rows_of_noughts_and_ones_are_counted_not_kept() -> None:
    rng = np.random.default_rng(5)
    features = (rng.random((2_000, BUDGETS)) < 0.5).astype(np.float64)
    weight, edges = rng.normal(size=2_000), (np.array([0]), np.array([2_000]), np.log([2_000.0]))
    rows = binary_rows([features], weight, *edges)
    assert rows is not None
    assert rows.values.shape[1] == 2**BUDGETS
    features[1_999, 0] = 0.5
    assert binary_rows([features], weight, *edges) is None
    features[1_999, 0] = 1.0
    weight[0] = -2_000.0  # such a range cannot be added up in one table
    assert binary_rows([features], weight, *edges) is None
