"""The dual on weighted samples: scipy as oracle, intervals, degenerate inputs, and agreement with the exact law."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp

from bylaw.compiler.law.dual import solve_dual
from bylaw.compiler.law.gibbs import ExactLaw
from bylaw.compiler.law.numerics import EmptySupport, LowEffectiveSampleSize
from bylaw.compiler.law.samples import (
    Population,
    PromptSamples,
    effective_sample_size,
    log_mean_exp,
    log_z_estimate,
)

SENSES = ("at most", "at least", "exactly")


def random_population(
    rng: np.random.Generator, prompts: int, samples: int, budgets: int, scales: np.ndarray | None = None
) -> Population:
    scales = np.ones(budgets) if scales is None else scales
    made = []
    for _ in range(prompts):
        size = samples + int(rng.integers(0, 9))
        weight = rng.normal(0.0, 0.7, size)
        weight[rng.random(size) < 0.1] = -np.inf
        features = (rng.normal(rng.normal(0.0, 0.3), 1.0, (size, budgets)) + rng.exponential(1.0, (size, 1))) * scales
        made.append(PromptSamples(weight, features))
    return Population(made, rng.random(prompts) + 0.2)


def feasible_bounds(rng: np.random.Generator, population: Population) -> np.ndarray:
    """Bounds that a tilted law attains, so that every combination of senses is feasible."""
    tilt = rng.normal(0.0, 0.6, population.budgets) / np.maximum(population.features.std(axis=0), 1e-300)
    return population.moments(tilt).mean


def oracle(population: Population, bounds: np.ndarray, limits: list[tuple[float | None, float | None]]) -> float:
    """The dual value by L-BFGS-B on an independent, per-prompt implementation with scipy's logsumexp."""

    def objective(mu: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = float(mu @ bounds), bounds.copy()
        for share, prompt in zip(population.weights, population.prompts, strict=True):
            exponent = prompt.log_weight - prompt.features @ mu
            value += share * (logsumexp(exponent) - np.log(exponent.size))
            slope -= share * (np.exp(exponent - logsumexp(exponent)) @ prompt.features)
        return value, slope

    found = minimize(
        objective,
        np.zeros(bounds.size),
        jac=True,
        method="L-BFGS-B",
        bounds=limits,
        options={"maxiter": 5000, "ftol": 1e-16, "gtol": 1e-10},
    )
    return float(found.fun)


@pytest.mark.parametrize("seed", range(30))
def test_dual_agrees_with_scipy_on_random_instances(seed: int) -> None:
    rng = np.random.default_rng(seed)
    budgets = int(rng.integers(1, 6))
    population = random_population(rng, int(rng.integers(1, 7)), 60, budgets)
    bounds = feasible_bounds(rng, population)
    senses = [SENSES[int(index)] for index in rng.integers(0, 3, budgets)]
    box = np.where(rng.random(budgets) < 0.4, rng.random(budgets), np.inf)
    solution = solve_dual(population, bounds, senses, box=box, ess_floor=1.0)
    limits = [
        {"at most": (0.0, r), "at least": (-r, 0.0), "exactly": (-r, r)}[s] for s, r in zip(senses, box, strict=True)
    ]
    assert solution.converged
    assert solution.gradient_norm <= 1e-9
    assert solution.dual_value == pytest.approx(oracle(population, bounds, limits), abs=1e-8)
    assert solution.iterations <= 25
    for index, (low, high) in enumerate(limits):
        assert low <= solution.mu[index] <= high
        assert solution.mu_interval[index, 0] <= solution.mu[index] <= solution.mu_interval[index, 1]
        if solution.status[index] == "binding" and solution.mu[index] not in (low, high):
            assert solution.rate[index] == pytest.approx(bounds[index], abs=1e-7)
        if solution.status[index] == "met":
            assert solution.slack[index] >= -1e-7
        if solution.status[index] == "saturated":
            assert abs(solution.mu[index]) == box[index]
            assert solution.slack[index] < 0.0


def test_wildly_different_scales_and_collinear_features() -> None:
    rng = np.random.default_rng(5)
    population = random_population(rng, 4, 300, 3, np.array([500.0, 1e-4, 1.0]))
    bounds = feasible_bounds(rng, population)
    solution = solve_dual(population, bounds, ["exactly"] * 3, ess_floor=1.0)
    assert solution.converged
    np.testing.assert_allclose(solution.rate / bounds, 1.0, atol=1e-6)
    doubled = Population(
        [PromptSamples(p.log_weight, np.hstack([p.features, 2.0 * p.features[:, :1]])) for p in population.prompts],
        population.prompt_weight,
    )
    twice = solve_dual(doubled, np.append(bounds, 2.0 * bounds[0]), ["exactly"] * 4, ess_floor=1.0)
    assert twice.converged
    assert twice.mu[0] + 2.0 * twice.mu[3] == pytest.approx(solution.mu[0], rel=1e-5)
    assert np.isinf(twice.mu_interval[[0, 3]]).all()  # the split between copies is not identified, and we say so
    assert np.isfinite(twice.mu_interval[[1, 2]]).all()


def test_dual_on_an_enumerated_space_is_the_exact_law() -> None:
    rng = np.random.default_rng(2)
    log_p0 = np.log(rng.dirichlet(np.ones(40)))
    features = rng.normal(size=(40, 2))
    uniform_proposal = Population([PromptSamples(log_p0 + np.log(40), features)])
    bounds = features.T @ np.exp(log_p0) - 0.2
    solution = solve_dual(uniform_proposal, bounds, ["at most", "exactly"], ess_floor=1.0)
    law = ExactLaw(log_p0, np.ones(40, dtype=bool), np.zeros(40), features, solution.mu)
    np.testing.assert_allclose(law.expectation(), bounds, atol=1e-9)
    assert solution.log_z == pytest.approx(law.log_z, abs=1e-12)
    assert solution.budget_kl == pytest.approx(law.kl_to_base(), abs=1e-10)
    assert solution.budget_kl == pytest.approx(-solution.dual_value, abs=1e-9)  # strong duality, no soft terms


def test_exactly_moves_either_way_and_at_least_raises() -> None:
    rng = np.random.default_rng(3)
    population = random_population(rng, 3, 400, 1)
    base = population.moments([0.0]).mean[0]
    up = solve_dual(population, [base + 0.3], ["at least"], ess_floor=1.0)
    assert up.mu[0] < 0.0
    assert up.status == ("binding",)
    assert up.rate[0] == pytest.approx(base + 0.3, abs=1e-8)
    same = solve_dual(population, [base + 0.3], ["exactly"], ess_floor=1.0)
    assert same.mu[0] == pytest.approx(up.mu[0], abs=1e-7)
    down = solve_dual(population, [base - 0.3], ["exactly"], ess_floor=1.0)
    assert down.mu[0] > 0.0
    assert solve_dual(population, [base - 0.3], ["at least"], ess_floor=1.0).status == ("met",)


def test_population_budget_holds_on_average_not_per_prompt() -> None:
    rng = np.random.default_rng(4)
    easy = PromptSamples(np.zeros(4000), (rng.random((4000, 1)) < 0.05).astype(float))
    hard = PromptSamples(np.zeros(4000), (rng.random((4000, 1)) < 0.6).astype(float))
    solution = solve_dual(Population([easy, hard]), [0.1], ["at most"])
    assert solution.rate[0] == pytest.approx(0.1, abs=1e-8)
    assert solution.prompt_rate[0, 0] < 0.1 < solution.prompt_rate[1, 0]


def test_met_at_zero_has_zero_or_one_sided_interval() -> None:
    rng = np.random.default_rng(6)
    population = random_population(rng, 3, 400, 1)
    base = population.moments([0.0])
    error = float(np.sqrt(base.mean_variance[0, 0]))
    loose = solve_dual(population, base.mean + 20.0 * error, ["at most"])
    assert loose.status == ("met",)
    assert loose.budget_kl == 0.0
    assert loose.mu_interval.tolist() == [[0.0, 0.0]]
    close = solve_dual(population, base.mean + 0.5 * error, ["at most"])
    assert close.mu[0] == 0.0
    assert close.mu_interval[0, 0] == 0.0
    assert close.mu_interval[0, 1] > 0.0


def test_no_budgets() -> None:
    population = Population([PromptSamples(np.zeros(200), np.zeros((200, 0)))])
    solution = solve_dual(population, [], [])
    assert solution.converged
    assert solution.mu.shape == (0,)
    assert solution.status == ()
    assert solution.log_z == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("bound", "sense", "status"), [(1.0, "at most", "met"), (0.5, "exactly", "met")])
def test_constant_feature_that_holds_for_free(bound: float, sense: str, status: str) -> None:
    rng = np.random.default_rng(7)
    features = np.column_stack([np.full(500, 0.5), rng.random(500)])
    population = Population([PromptSamples(np.zeros(500), features)])
    solution = solve_dual(population, [bound, 0.45], [sense, "at most"])
    assert solution.converged
    assert solution.status == (status, "binding")
    assert solution.mu[0] == 0.0
    assert solution.mu_interval[0].tolist() in ([0.0, 0.0], [-np.inf, np.inf])


def test_constant_feature_in_a_box_saturates() -> None:
    population = Population([PromptSamples(np.zeros(200), np.full((200, 1), 0.5))])
    solution = solve_dual(population, [0.2], ["at most"], box=[3.0])
    assert solution.converged
    assert solution.status == ("saturated",)
    assert solution.mu[0] == 3.0
    assert solve_dual(population, [0.8], ["at least"], box=[0.0]).status == ("saturated",)


def test_lower_authority_saturates_first() -> None:
    rng = np.random.default_rng(8)
    base = rng.random(2000) < 0.5
    features = np.column_stack([base, base]).astype(float)
    population = Population([PromptSamples(np.zeros(2000), features)])
    # The user wants more of it, the operator less: they cannot both hold; the cheaper one pays.
    solution = solve_dual(population, [0.2, 0.8], ["at most", "at least"], box=[5.0, 1.0])
    assert solution.status == ("binding", "saturated")
    assert solution.rate[0] == pytest.approx(0.2, abs=1e-8)


def test_refusals() -> None:
    with pytest.raises(EmptySupport, match="prompt") as caught:
        Population([PromptSamples([0.0], [[1.0]]), PromptSamples([-np.inf, -np.inf], [[1.0], [np.nan]])])
    assert caught.value.prompts == (1,)
    with pytest.raises(ValueError, match="finite"):
        PromptSamples([0.0], [[np.inf]])
    with pytest.raises(ValueError, match="inf"):
        PromptSamples([np.inf], [[1.0]])
    with pytest.raises(ValueError, match="at least one"):
        Population([])
    rng = np.random.default_rng(9)
    few = Population([PromptSamples(np.zeros(50), rng.random((50, 1)))])
    with pytest.raises(LowEffectiveSampleSize) as low:
        solve_dual(few, [0.4], ["at most"])
    assert low.value.floor == 100.0
    assert low.value.ess < 100.0
    # Three hundred prompts of one sample each: Kish's pooled size is 300, the information is none.
    single = Population([PromptSamples([0.0], rng.random((1, 1))) for _ in range(300)])
    assert single.moments([0.0]).ess == pytest.approx(300.0)
    with pytest.raises(LowEffectiveSampleSize):
        solve_dual(single, [0.9], ["at most"])
    with pytest.raises(ValueError, match="sense"):
        solve_dual(few, [0.4], ["below"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="bounds"):
        solve_dual(few, [0.4, 0.2], ["at most"])
    with pytest.raises(EmptySupport):
        effective_sample_size([-np.inf, -np.inf])
    with pytest.raises(EmptySupport):
        log_z_estimate([-np.inf])


def test_effective_sample_size_and_log_z_error() -> None:
    assert effective_sample_size(np.full(7, -800.0)) == pytest.approx(7.0)
    assert effective_sample_size([0.0, -np.inf, 0.0]) == pytest.approx(2.0)
    assert log_mean_exp([1000.0, 1000.0, -np.inf, -np.inf]) == pytest.approx(1000.0 - np.log(2.0))
    rng = np.random.default_rng(10)
    draws = [log_z_estimate(rng.normal(0.0, 0.8, 800)) for _ in range(600)]
    values = np.array([draw.value for draw in draws])
    errors = np.array([draw.standard_error for draw in draws])
    assert values.mean() == pytest.approx(0.32, abs=0.01)  # log E e^{σg} = σ²/2
    assert errors.mean() == pytest.approx(values.std(), rel=0.12)


def unmerged_moments(population: Population, mu: np.ndarray) -> dict[str, np.ndarray]:
    """Log partitions, means, covariance and Monte-Carlo covariance sample by sample, prompt by prompt."""
    budgets = population.budgets
    found = {"log_z": [], "prompt_mean": [], "prompt_ess": []}
    covariance, noise, bias = np.zeros((budgets, budgets)), np.zeros((budgets, budgets)), np.zeros(budgets)
    for share, prompt, own in zip(population.weights, population.prompts, np.atleast_2d(mu), strict=False):
        alive = prompt.log_weight > -np.inf
        exponent = prompt.log_weight[alive] - prompt.features[alive] @ own
        law = np.exp(exponent - logsumexp(exponent))
        mean = law @ prompt.features[alive]
        centred = prompt.features[alive] - mean
        found["log_z"].append(logsumexp(exponent) - np.log(alive.size))
        found["prompt_mean"].append(mean)
        found["prompt_ess"].append(1.0 / (law**2).sum())
        covariance += share * centred.T @ (centred * law[:, None])
        noise += share**2 * centred.T @ (centred * law[:, None] ** 2) / (1.0 - (law**2).sum())
        bias -= share * law**2 @ centred
    return {
        **{name: np.array(value) for name, value in found.items()},
        "covariance": covariance,
        "mean_variance": noise,
        "bias": bias,
    }


@pytest.mark.parametrize("kind", ["two values", "counts", "continuous", "negative zero"])
@pytest.mark.parametrize("prompts", [1, 3, 40])
def test_merging_equal_rows_changes_nothing(kind: str, prompts: int) -> None:
    rng = np.random.default_rng(len(kind) + prompts)
    made = []
    for _ in range(prompts):
        size = int(rng.integers(300, 400))
        features = rng.integers(0, 2 if kind == "two values" else 4, (size, 3)).astype(float)
        if kind == "continuous":
            features += rng.random((size, 3))
        if kind == "negative zero":
            features = np.where(features > 1.0, -0.0, np.minimum(features, 1.0) * 1e-300)
        weight = rng.normal(0.0, 1.0, size)
        weight[rng.random(size) < 0.2] = -np.inf
        made.append(PromptSamples(weight, features))
    population = Population(made, rng.random(prompts) + 0.1)
    merges = population.rows.log_weight.size < 0.6 * population.log_weight.size
    assert merges == (kind != "continuous")
    mu = rng.normal(0.0, 0.5, (prompts, 3))
    moments, expected = population.moments(mu), unmerged_moments(population, mu)
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(moments, name), value, rtol=1e-11, atol=1e-13, err_msg=name)
    alike = unmerged_moments(population, np.tile(mu[0], (prompts, 1)))["log_z"]
    np.testing.assert_allclose(population.moments(mu[0]).log_z, alike, atol=1e-12)


def test_merged_weights_keep_what_only_a_tilt_brings_back() -> None:
    """Samples two thousand nats lighter than the rest lose nothing: weights are added in logarithms."""
    weight = np.where(np.arange(600) % 2 == 0, 0.0, -2000.0) + np.log1p(np.arange(600.0))
    features = (np.arange(600) % 2 == 1).astype(float)[:, None]
    population = Population([PromptSamples(weight, features)])
    assert population.rows.log_weight.size == 2
    moments, expected = population.moments([-2000.0]), unmerged_moments(population, np.array([-2000.0]))
    assert moments.mean[0] == pytest.approx(expected["prompt_mean"][0, 0], rel=1e-12)
    assert moments.ess == pytest.approx(expected["prompt_ess"][0], rel=1e-10)


def test_a_first_guess_from_few_rows_ends_at_the_same_law() -> None:
    """From 32,768 rows on the search starts on a thinned sample with estimated curvature; sorted rows mislead both."""
    rng = np.random.default_rng(12)
    features = rng.normal(size=(40_000, 3)) + rng.exponential(1.0, (40_000, 1))
    for order in (np.arange(40_000), np.argsort(features[:, 0])):
        population = Population([PromptSamples(0.3 * features[order, 1], features[order])])
        bounds = population.base.mean - np.array([0.4, 0.2, -0.3])
        solution = solve_dual(population, bounds, ["at most", "exactly", "at least"])
        assert solution.converged
        assert solution.gradient_norm <= 1e-12
        limits = [(0.0, None), (None, None), (None, 0.0)]
        assert solution.dual_value == pytest.approx(oracle(population, bounds, limits), abs=1e-9)
