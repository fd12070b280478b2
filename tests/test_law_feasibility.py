"""Infeasibility certificates against scipy's linear programming; hard rules in disguise."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import linprog

from bylaw.compiler.law.dual import solve_dual
from bylaw.compiler.law.feasibility import hard_budgets, infeasibility, separation, solve_matrix_game
from bylaw.compiler.law.samples import Population, PromptSamples


def sided(bounds: np.ndarray, senses: list[str], features: np.ndarray) -> np.ndarray:
    columns = []
    for index, sense in enumerate(senses):
        if sense != "at least":
            columns.append(features[:, index] - bounds[index])
        if sense != "at most":
            columns.append(bounds[index] - features[:, index])
    return np.stack(columns, axis=1)


def primal_value(population: Population, bounds: np.ndarray, senses: list[str], members: list[int]) -> float:
    """min over per-prompt laws q of the largest expected violation: the primal LP, one variable per sample."""
    features = population.features[:, members]
    chosen = [senses[index] for index in members]
    violations = sided(bounds[members], chosen, features)
    shares = np.repeat(population.weights, population.counts)
    samples, sides = violations.shape
    objective = np.append(np.zeros(samples), 1.0)
    upper = np.hstack([(violations * shares[:, None]).T, -np.ones((sides, 1))])
    equal = np.zeros((population.counts.size, samples + 1))
    for row, (start, count) in enumerate(zip(population.starts, population.counts, strict=True)):
        equal[row, start : start + count] = 1.0
    found = linprog(
        objective,
        A_ub=upper,
        b_ub=np.zeros(sides),
        A_eq=equal,
        b_eq=np.ones(population.counts.size),
        bounds=[(0.0, None)] * samples + [(None, None)],
        method="highs",
    )
    assert found.status == 0
    return float(found.fun)


def random_instance(seed: int) -> tuple[Population, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    budgets = int(rng.integers(1, 9))
    prompts = []
    for _ in range(int(rng.integers(1, 8))):
        weight = np.where(rng.random(40) < 0.15, -np.inf, rng.normal(size=40))
        features = rng.normal(rng.normal(size=budgets), 1.0, size=(40, budgets))
        if seed % 3 == 0:
            features = np.round(features)  # ties and degenerate vertices
        prompts.append(PromptSamples(weight, features))
    population = Population(prompts, rng.random(len(prompts)) + 0.1)
    bounds = population.moments(np.zeros(budgets)).mean + rng.normal(0.0, 1.6, budgets)
    senses = [["at most", "at least", "exactly"][int(k)] for k in rng.integers(0, 3, budgets)]
    return population, bounds, senses


@pytest.mark.parametrize("seed", range(40))
def test_certificate_equals_linear_programme(seed: int) -> None:
    population, bounds, senses = random_instance(seed)
    members = list(range(bounds.size))
    expected = primal_value(population, bounds, senses, members)
    found = separation(population, bounds, senses)
    assert found.value == pytest.approx(expected, abs=1e-8)
    certificate = infeasibility(population, bounds, senses)
    if expected <= 1e-8:
        assert certificate is None
        return
    assert certificate is not None
    # The direction proves it by itself, whatever the LP says.
    scores = (population.features - bounds) @ certificate.direction
    assert population.weights @ np.minimum.reduceat(scores, population.starts) == pytest.approx(expected, abs=1e-8)
    assert np.abs(certificate.direction).sum() <= 1.0 + 1e-9
    assert "infeasible on the sampled support (N = " in certificate.describe()
    # Minimal: the conflict is infeasible, and every proper subset obtained by dropping one is feasible.
    conflict = list(certificate.conflict)
    assert primal_value(population, bounds, senses, conflict) > 1e-8
    for smaller in combinations(conflict, len(conflict) - 1):
        if smaller:
            assert primal_value(population, bounds, senses, list(smaller)) <= 1e-7


def test_the_random_instances_are_of_both_kinds() -> None:
    kinds = [infeasibility(*random_instance(seed)) is None for seed in range(40)]
    assert 8 <= sum(kinds) <= 32


@pytest.mark.parametrize("seed", range(20))
def test_matrix_game_against_linprog(seed: int) -> None:
    rng = np.random.default_rng(seed)
    payoff = rng.normal(size=(int(rng.integers(1, 30)), int(rng.integers(1, 11))))
    strategy, value = solve_matrix_game(payoff)
    assert strategy.sum() == pytest.approx(1.0)
    assert (strategy >= 0.0).all()
    columns = payoff.shape[1]
    oracle = linprog(
        np.append(np.zeros(columns), -1.0),
        A_ub=np.hstack([-payoff, np.ones((payoff.shape[0], 1))]),
        b_ub=np.zeros(payoff.shape[0]),
        A_eq=[np.append(np.ones(columns), 0.0)],
        b_eq=[1.0],
        bounds=[(0.0, None)] * columns + [(None, None)],
    )
    assert value == pytest.approx(-oracle.fun, abs=1e-10)


def test_two_rules_that_exclude_each_other_are_named() -> None:
    rng = np.random.default_rng(1)
    flag = (rng.random(500) < 0.5).astype(float)
    features = np.column_stack([flag, rng.random(500), 1.0 - flag])
    population = Population([PromptSamples(np.zeros(500), features)])
    bounds, senses = [0.3, 0.4, 0.3], ["at most", "at most", "at most"]
    certificate = infeasibility(population, bounds, senses)
    assert certificate is not None
    assert certificate.conflict == (0, 2)
    assert certificate.value == pytest.approx(0.2)
    assert "emoji + no emoji" in certificate.describe(["emoji", "length", "no emoji"])
    solution = solve_dual(population, bounds, senses)
    refused = "infeasible on the sampled support"
    assert solution.status == (refused, "undetermined", refused)
    assert np.isnan(solution.mu).all()
    assert not solution.converged
    assert np.isfinite(solution.base_rate).all()
    # Elastic budgets are always feasible.
    assert solve_dual(population, bounds, senses, box=[2.0, np.inf, 4.0]).converged


def test_zero_bound_is_a_hard_rule() -> None:
    rng = np.random.default_rng(2)
    features = np.column_stack([(rng.random(400) < 0.3), rng.random(400) < 0.5, np.zeros(400)]).astype(float)
    population = Population([PromptSamples(np.zeros(400), features)])
    senses = ["at most", "at least", "at most"]
    assert hard_budgets(population, [0.0, 1.0, 0.0], senses) == (0, 1)  # the vacuous third holds for free
    assert hard_budgets(population, [0.01, 0.99, 0.0], senses) == ()
    assert hard_budgets(population, [0.01, 0.2, 0.0], ["exactly", "exactly", "at most"]) == ()
    solution = solve_dual(population, [0.0, 0.4, 0.0], senses)
    assert solution.status == ("hard rule", "undetermined", "undetermined")
    assert solution.certificate is not None
    assert "face" in solution.certificate.describe()
    # With an elastic price the multiplier saturates instead of running away.
    assert solve_dual(population, [0.0, 0.4, 0.0], senses, box=[6.0, np.inf, np.inf]).status[0] == "saturated"


def test_budgets_that_together_leave_only_a_face() -> None:
    # Every response has the first or the second or both: E f1 ≤ ½ and E f2 ≤ ½ forbid "both" altogether.
    features = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])[np.arange(600) % 3]
    population = Population([PromptSamples(np.zeros(600), features)])
    assert hard_budgets(population, [0.5, 0.5], ["at most", "at most"]) == (0, 1)
    assert hard_budgets(population, [0.5, 0.55], ["at most", "at most"]) == ()


def test_complementary_budgets_are_an_equality_not_a_face() -> None:
    rng = np.random.default_rng(3)
    flag = (rng.random(400) < 0.5).astype(float)
    noise = rng.random(400)
    population = Population([PromptSamples(np.zeros(400), np.column_stack([flag, 1.0 - flag, noise]))])
    # E f ≤ .4 and E(1 − f) ≤ .6 pin E f = .4: an equality, whose multipliers are not unique.
    senses = ["at most", "at most", "at most"]
    assert hard_budgets(population, [0.4, 0.6, 0.9], senses) == ()
    solution = solve_dual(population, [0.4, 0.6, 0.9], senses)
    assert solution.converged
    np.testing.assert_allclose(solution.rate[:2], [0.4, 0.6], atol=1e-8)


def test_one_prompt_alone_may_violate_a_population_budget() -> None:
    always = PromptSamples(np.zeros(150), np.ones((150, 1)))
    never = PromptSamples(np.zeros(150), np.zeros((150, 1)))
    population = Population([always, never, never])
    assert infeasibility(population, [0.34], ["at most"]) is None
    certificate = infeasibility(population, [0.3], ["at most"])
    assert certificate is not None
    assert certificate.value == pytest.approx(1.0 / 3.0 - 0.3)
    assert certificate.samples == 450


def test_no_budgets_is_feasible() -> None:
    population = Population([PromptSamples(np.zeros(3), np.zeros((3, 0)))])
    assert infeasibility(population, [], []) is None
    assert hard_budgets(population, [], []) == ()
