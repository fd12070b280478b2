"""Equilibria of the game under every divergence: closed form, optimality, saddle point, limits, features, extremes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from bylaw.compiler.law.divergence import DIVERGENCES, KL, TOTAL_VARIATION, Divergence
from bylaw.compiler.law.equilibria import (
    Equilibrium,
    best_response,
    cell_log_sums,
    kl_equilibrium,
    solve_feature_game,
    solve_game,
)
from bylaw.compiler.law.gibbs import entropy

EXACT = 1e-9
NAMES = sorted(DIVERGENCES)
STRENGTHS = (0.05, 0.7, 3.0, 40.0)


def game(seed: int, size: int = 7) -> tuple[np.ndarray, np.ndarray, float]:
    """(utility, log reference, temperature)."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=size) * 2.0, np.log(rng.dirichlet(np.ones(size))), float(rng.uniform(0.5, 2.0))


def objective(
    log_q: np.ndarray, utility: np.ndarray, log_p: np.ndarray, strength: float, f: Divergence, t: float
) -> float:
    return float(np.exp(log_q) @ utility) / t + entropy(log_q) - strength * f.value(log_q, log_p)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), strength=st.floats(0.0, 50.0), size=st.integers(1, 12))
def test_kl_has_the_closed_form(seed: int, strength: float, size: int) -> None:
    utility, log_p, temperature = game(seed, size)
    found = solve_game(utility, log_p, strength, KL, temperature)
    log_q, value = kl_equilibrium(utility, log_p, strength, temperature)
    np.testing.assert_allclose(found.log_q, log_q, atol=EXACT)
    assert found.value == pytest.approx(value, abs=EXACT)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("strength", STRENGTHS)
def test_stationary_optimal_and_certified(name: str, strength: float) -> None:
    """First-order conditions, the dual certificate, and no law near or far does better (J is strictly concave)."""
    f = DIVERGENCES[name]
    rng = np.random.default_rng(3)
    for seed in range(4):
        utility, log_p, temperature = game(seed)
        found = solve_game(utility, log_p, strength, f, temperature)
        assert np.exp(found.log_q).sum() == pytest.approx(1.0, abs=1e-12)
        np.testing.assert_allclose(
            found.log_q + strength * found.witness, utility / temperature - found.normaliser, atol=EXACT
        )
        assert found.gap < EXACT
        dual = np.logaddexp.reduce(utility / temperature - strength * found.witness)
        dual += strength * float(np.exp(log_p) @ f.conjugate(found.witness))
        assert dual == pytest.approx(found.value, abs=EXACT)
        assert found.value == pytest.approx(objective(found.log_q, utility, log_p, strength, f, temperature), abs=EXACT)
        for scale in (1e-4, 1e-2, 1.0, 5.0):
            for _ in range(5):
                other = found.log_q + scale * rng.normal(size=utility.size)
                other -= np.log(np.exp(other).sum())
                assert objective(other, utility, log_p, strength, f, temperature) <= found.value + 1e-12


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_two_sides_answer_each_other(name: str, strength: float) -> None:
    """Against the witness the generator's best law is Q; against Q no witness charges more than the witness does."""
    f = DIVERGENCES[name]
    rng = np.random.default_rng(4)
    for seed in range(3):
        utility, log_p, temperature = game(10 + seed)
        found = solve_game(utility, log_p, strength, f, temperature)
        answer = best_response(utility, found.witness, strength, temperature)
        np.testing.assert_allclose(answer, found.log_q, atol=EXACT)
        charge = f.variational(found.witness, found.log_q, log_p)
        assert charge == pytest.approx(found.divergence, abs=EXACT)
        for scale in (1e-3, 0.1, 1.0):
            for _ in range(5):
                other = found.witness + scale * rng.normal(size=utility.size)
                assert f.variational(other, found.log_q, log_p) <= charge + 1e-12


@pytest.mark.parametrize("name", [name for name in NAMES if name != "total_variation"])
def test_agrees_with_a_general_solver(name: str) -> None:
    """Of smooth charges; a gradient method stalls at the kink of total variation, which its dual certifies above."""
    f = DIVERGENCES[name]
    utility, log_p, temperature = game(5, 4)
    found = solve_game(utility, log_p, 1.5, f, temperature)

    def loss(logits: np.ndarray) -> float:
        log_q = logits - np.log(np.exp(logits).sum())
        return -objective(log_q, utility, log_p, 1.5, f, temperature)

    other = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-9})
    assert -other.fun == pytest.approx(found.value, abs=1e-9)
    np.testing.assert_allclose(other.x - np.log(np.exp(other.x).sum()), found.log_q, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_limits_of_the_strength(name: str) -> None:
    f = DIVERGENCES[name]
    utility, log_p, temperature = game(6)
    softmax = utility / temperature - np.log(np.exp(utility / temperature).sum())
    free = solve_game(utility, log_p, 0.0, f, temperature)
    np.testing.assert_allclose(free.log_q, softmax, atol=1e-12)
    assert free.value == pytest.approx(np.log(np.exp(utility / temperature).sum()), abs=1e-12)
    np.testing.assert_allclose(
        np.exp(solve_game(utility, log_p, 1e-9, f, temperature).log_q), np.exp(softmax), atol=1e-7
    )
    np.testing.assert_allclose(solve_game(utility, log_p, 1e7, f, temperature).log_q, log_p, atol=1e-5)
    bound = solve_game(utility, log_p, np.inf, f, temperature)
    np.testing.assert_array_equal(bound.log_q, log_p)
    assert bound.value == pytest.approx(float(np.exp(log_p) @ utility) / temperature + entropy(log_p), abs=1e-12)
    rows: list[Equilibrium] = [solve_game(utility, log_p, s, f, temperature) for s in (0.1, 1.0, 10.0, 100.0)]
    for earlier, later in pairwise(rows):
        assert later.divergence <= earlier.divergence + 1e-12
        assert later.value < earlier.value or later.divergence < 1e-12


def test_total_variation_holds_the_law_at_a_finite_strength() -> None:
    """f′ is an interval at ratio 1: Q = P exactly once λ reaches the spread of U/T − log P, and not before."""
    utility, log_p, temperature = game(7)
    spread = float(np.ptp(utility / temperature - log_p))
    held = solve_game(utility, log_p, 1.0001 * spread, TOTAL_VARIATION, temperature)
    np.testing.assert_array_equal(held.log_q, log_p)
    assert held.divergence == 0.0
    assert held.gap < EXACT
    assert np.abs(held.witness).max() <= 0.5
    assert np.unique(held.witness).size > 2  # inside the interval, not its sign
    assert solve_game(utility, log_p, 0.999 * spread, TOTAL_VARIATION, temperature).divergence > 0.0
    partly = solve_game(utility, log_p, 0.5 * spread, TOTAL_VARIATION, temperature)
    assert 0 < int((partly.log_q == log_p).sum()) < log_p.size  # some messages stand at the kink
    assert partly.gap < EXACT


@pytest.mark.parametrize("name", NAMES)
def test_messages_that_the_reference_never_sends(name: str) -> None:
    """A finite slope at infinity prices them; an infinite one forbids them."""
    f = DIVERGENCES[name]
    utility = np.array([0.3, 2.0, -1.0, 1.0])
    with np.errstate(divide="ignore"):
        log_p = np.log([0.5, 0.0, 0.2, 0.3])
    found = solve_game(utility, log_p, 0.8, f)
    assert found.gap < EXACT
    if np.isinf(f.slope_at_infinity):
        assert found.log_q[1] == -np.inf
        rest = solve_game(utility[[0, 2, 3]], log_p[[0, 2, 3]], 0.8, f)
        np.testing.assert_allclose(found.log_q[[0, 2, 3]], rest.log_q, atol=EXACT)
    else:
        wanted = utility[1] - found.normaliser - 0.8 * f.slope_at_infinity
        assert found.log_q[1] == pytest.approx(wanted, abs=EXACT)
        nearly = np.log(np.array([0.5, 1e-13, 0.2, 0.3]))
        limit = solve_game(utility, nearly - np.log(np.exp(nearly).sum()), 0.8, f)
        np.testing.assert_allclose(found.log_q, limit.log_q, atol=1e-5)
    assert f.variational(found.witness, found.log_q, log_p) == pytest.approx(found.divergence, abs=EXACT)


@pytest.mark.parametrize("name", NAMES)
def test_extreme_numbers_neither_overflow_nor_mislead(name: str) -> None:
    f = DIVERGENCES[name]
    utility = np.array([1e5, -1e5, 0.0, 9.9e4])
    log_p = np.array([-900.0, 0.0, -30.0, -5000.0])
    log_p -= np.logaddexp.reduce(log_p)
    with np.errstate(over="raise", invalid="raise"):
        for strength in (1e-6, 1.0, 1e3, 1e6):
            found = solve_game(utility, log_p, strength, f)
            assert np.logaddexp.reduce(found.log_q) == pytest.approx(0.0, abs=1e-9)
            assert not np.isnan(found.witness).any()
            assert found.gap <= 1e-9
            assert np.isfinite(found.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("strength", [0.3, 4.0])
def test_a_regulator_that_sees_only_a_feature(name: str, strength: float) -> None:
    """Within a cell the generator keeps its own law; its marginal is the best of the game on cells."""
    f = DIVERGENCES[name]
    rng = np.random.default_rng(8)
    utility, log_p, temperature = game(9, 9)
    cell = np.array([0, 1, 2] * 3)
    found = solve_feature_game(utility, log_p, cell, strength, f, temperature)
    base = utility / temperature
    for each in range(3):
        inside = cell == each
        kept = base[inside] - np.logaddexp.reduce(base[inside])
        np.testing.assert_allclose(found.log_q[inside] - np.logaddexp.reduce(found.log_q[inside]), kept, atol=EXACT)

    def seen(log_q: np.ndarray) -> float:
        charge = f.value(cell_log_sums(log_q, cell), cell_log_sums(log_p, cell))
        return float(np.exp(log_q) @ utility) / temperature + entropy(log_q) - strength * charge

    assert found.value == pytest.approx(seen(found.log_q), abs=EXACT)
    assert found.entropy == pytest.approx(entropy(found.log_q), abs=EXACT)
    for scale in (1e-3, 0.1, 1.0):
        for _ in range(10):
            other = found.log_q + scale * rng.normal(size=9)
            assert seen(other - np.logaddexp.reduce(other)) <= found.value + 1e-12
    whole = solve_game(utility, log_p, strength, f, temperature)
    assert found.value >= whole.value - 1e-12  # it cannot punish what it cannot see
    if name != "total_variation":
        best = minimize(lambda logits: -seen(logits - np.logaddexp.reduce(logits)), np.zeros(9), options={"gtol": 1e-8})
        assert -best.fun == pytest.approx(found.value, abs=1e-8)


def test_a_feature_that_tells_everything_or_nothing() -> None:
    utility, log_p, temperature = game(11)
    for f in DIVERGENCES.values():
        everything = solve_feature_game(utility, log_p, np.arange(7), 2.0, f, temperature)
        np.testing.assert_allclose(everything.log_q, solve_game(utility, log_p, 2.0, f, temperature).log_q, atol=EXACT)
        nothing = solve_feature_game(utility, log_p, np.zeros(7), 2.0, f, temperature)
        np.testing.assert_allclose(nothing.log_q, solve_game(utility, log_p, 0.0, f, temperature).log_q, atol=EXACT)
        assert nothing.divergence == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([0.0, 1.0], [0.0], 1.0), "one shape"),
        (([], [], 1.0), "one shape"),
        (([0.0, np.inf], np.log([0.5, 0.5]), 1.0), "finite"),
        (([0.0, 1.0], np.log([0.5, 0.4]), 1.0), "not normalised"),
        (([0.0, 1.0], np.log([0.5, 0.5]), -1.0), "nonnegative"),
        (([0.0, 1.0], np.log([0.5, 0.5]), np.nan), "nonnegative"),
        (([0.0, 1.0], np.log([0.5, 0.5]), 1.0, KL, 0.0), "temperature"),
        (([0.0, np.nan], np.log([0.5, 0.5]), 1.0), "NaN"),
    ],
)
def test_refusals(arguments: tuple[object, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        solve_game(*arguments)  # type: ignore[arg-type]


def test_refusals_of_features_and_closed_form() -> None:
    with pytest.raises(ValueError, match="feature"):
        solve_feature_game([0.0, 1.0], np.log([0.5, 0.5]), [1], 1.0)
    with pytest.raises(ValueError, match="finite strength"):
        kl_equilibrium([0.0, 1.0], np.log([0.5, 0.5]), np.inf)
