"""Identity 10 of LAW.md §5: duality of f-divergences, and the conjugates against brute-force suprema."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from bylaw.compiler.law.divergence import DIVERGENCES, KL, Divergence, donsker_varadhan
from bylaw.compiler.law.gibbs import kl_divergence, total_variation

EXACT = 1e-9
NAMES = sorted(DIVERGENCES)


def pair_of_laws(seed: int, size: int = 9) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.log(rng.dirichlet(np.ones(size))), np.log(rng.dirichlet(np.ones(size)))


@pytest.mark.parametrize("name", NAMES)
def test_identity_10_value_at_the_optimal_witness(name: str) -> None:
    divergence = DIVERGENCES[name]
    for seed in range(5):
        log_q, log_p = pair_of_laws(seed)
        best = divergence.optimal_witness(np.exp(log_q - log_p))
        value = divergence.value(log_q, log_p)
        assert value > 0.0
        assert divergence.variational(best, log_q, log_p) == pytest.approx(value, abs=EXACT)
        assert divergence.value(log_p, log_p) == pytest.approx(0.0, abs=EXACT)


@pytest.mark.parametrize("name", NAMES)
def test_identity_10_the_gap_is_the_fenchel_young_loss(name: str) -> None:
    divergence = DIVERGENCES[name]
    rng = np.random.default_rng(1)
    log_q, log_p = pair_of_laws(7)
    ratio = np.exp(log_q - log_p)
    for _ in range(20):
        # −0.4 … 0.4 is inside every domain.
        witness = rng.uniform(-0.4, 0.4, log_q.size)
        loss = divergence.fenchel_young(ratio, witness)
        assert (loss >= -1e-12).all()
        gap = divergence.value(log_q, log_p) - divergence.variational(witness, log_q, log_p)
        assert gap == pytest.approx(float(np.exp(log_p) @ loss), abs=EXACT)


@pytest.mark.parametrize("name", NAMES)
def test_conjugate_is_the_supremum(name: str) -> None:
    divergence: Divergence = DIVERGENCES[name]
    upper = min(divergence.domain_upper - 0.05, 2.0)
    for witness in np.linspace(-3.5, upper, 23):
        # u = e^s covers (0, ∞); u = 0 is the other candidate.
        found = minimize_scalar(
            lambda s, t=witness: -(np.exp(s) * t - divergence.generator(np.exp(s))),
            bounds=(-25.0, 12.0),
            method="bounded",
            options={"xatol": 1e-10},
        )
        best = max(-float(found.fun), -divergence.at_zero)
        assert divergence.conjugate(witness) == pytest.approx(best, abs=1e-6)
    if np.isfinite(divergence.domain_upper):
        assert divergence.conjugate(divergence.domain_upper + 1e-9) == np.inf
        assert np.isfinite(divergence.conjugate(divergence.domain_upper)) == divergence.closed


@pytest.mark.parametrize("name", NAMES)
def test_limits_of_the_generator(name: str) -> None:
    divergence = DIVERGENCES[name]
    assert divergence.generator(1.0) == 0.0
    if np.isfinite(divergence.at_zero):
        assert divergence.generator(1e-14) == pytest.approx(divergence.at_zero, abs=1e-6)
    else:
        assert divergence.generator(1e-14) > 30.0
    slope = float(divergence.generator(1e12) / 1e12)
    if np.isfinite(divergence.slope_at_infinity):
        assert slope == pytest.approx(divergence.slope_at_infinity, abs=1e-5)
    else:
        assert slope > 20.0


def test_values_agree_with_direct_formulas_and_disjoint_supports() -> None:
    log_q, log_p = pair_of_laws(3)
    q, p = np.exp(log_q), np.exp(log_p)
    middle = np.log(0.5 * (q + p))
    expected = {
        "kl": kl_divergence(log_q, log_p),
        "reverse_kl": kl_divergence(log_p, log_q),
        "chi_squared": float(((q - p) ** 2 / p).sum()),
        "squared_hellinger": float(((np.sqrt(q) - np.sqrt(p)) ** 2).sum()),
        "twice_jensen_shannon": kl_divergence(log_q, middle) + kl_divergence(log_p, middle),
        "total_variation": total_variation(log_q, log_p),
    }
    for name, value in expected.items():
        assert DIVERGENCES[name].value(log_q, log_p) == pytest.approx(value, abs=EXACT), name
    with np.errstate(divide="ignore"):
        left, right = np.log([1.0, 0.0]), np.log([0.0, 1.0])
    apart = {name: DIVERGENCES[name].value(left, right) for name in NAMES}
    assert apart["total_variation"] == pytest.approx(1.0)
    assert apart["squared_hellinger"] == pytest.approx(2.0)
    assert apart["twice_jensen_shannon"] == pytest.approx(2.0 * np.log(2.0))
    assert apart["kl"] == apart["reverse_kl"] == apart["chi_squared"] == np.inf


def test_donsker_varadhan_is_tighter_and_shift_invariant() -> None:
    log_q, log_p = pair_of_laws(4)
    value = KL.value(log_q, log_p)
    witness = np.random.default_rng(2).normal(size=log_q.size)
    bound = donsker_varadhan(witness, log_q, log_p)
    assert KL.variational(witness, log_q, log_p) <= bound <= value
    assert donsker_varadhan(witness + 5.0, log_q, log_p) == pytest.approx(bound, abs=EXACT)
    assert donsker_varadhan(log_q - log_p + 1.7, log_q, log_p) == pytest.approx(value, abs=EXACT)


def test_features_cannot_show_more_than_the_laws() -> None:
    """Data processing: D_f of a feature's marginals ≤ D_f of the laws, equal iff the ratio is a function of it."""
    log_q, log_p = pair_of_laws(5, 12)
    cell = np.arange(12) % 4
    for divergence in DIVERGENCES.values():
        coarse = [np.log(np.bincount(cell, weights=np.exp(law))) for law in (log_q, log_p)]
        assert divergence.value(*coarse) <= divergence.value(log_q, log_p) + 1e-12
        if divergence is not DIVERGENCES["total_variation"]:  # strictly convex: a ratio that varies in a cell is lost
            assert divergence.value(*coarse) < divergence.value(log_q, log_p) - 0.01
        tilted = log_p + 0.3 * cell
        tilted -= np.log(np.exp(tilted).sum())
        marginal = np.log(np.bincount(cell, weights=np.exp(tilted)))
        assert divergence.value(marginal, coarse[1]) == pytest.approx(divergence.value(tilted, log_p), abs=EXACT)


def test_two_printed_conjugates_are_wrong() -> None:
    """ψ(t) = e^t gives KL − 1, and log(1 + e^t) makes the JS value +∞: why the table has others."""
    log_q, log_p = pair_of_laws(6)
    q, p, ratio = np.exp(log_q), np.exp(log_p), log_q - log_p
    assert float(q @ ratio - p @ np.exp(ratio)) == pytest.approx(kl_divergence(log_q, log_p) - 1.0, abs=EXACT)
    worth = [t - float(p @ np.logaddexp(0.0, np.full(9, t))) for t in (1.0, 100.0)]
    assert worth[1] == pytest.approx(0.0, abs=1e-12)  # a constant witness already reaches 0 …
    steep = [float(q @ (t * ratio) - p @ np.logaddexp(0.0, t * ratio)) for t in (1.0, 1e2, 1e4)]
    assert steep[0] < steep[1] < steep[2]  # … and a steep one grows without end
    assert steep[2] > 50.0 * steep[1] > 0.0


@pytest.mark.parametrize("name", NAMES)
def test_witness_price_and_slopes_in_the_log_ratio(name: str) -> None:
    divergence = DIVERGENCES[name]
    s = np.linspace(-3.0, 3.0, 13)
    u = np.exp(s)
    witness = divergence.witness_at(s)
    np.testing.assert_allclose(divergence.conjugate(witness), divergence.price_at(s), atol=1e-12)
    if name != "total_variation":
        np.testing.assert_allclose(divergence.price_at(s), u * witness - divergence.generator(u), atol=1e-11)
    step = 1e-5
    for function, slope in (
        (divergence.witness_at, divergence.witness_curvature),
        (divergence.witness_curvature, divergence.witness_bend),
    ):
        away = s[np.abs(s) > 0.1]
        found = (function(away + step) - function(away - step)) / (2.0 * step)
        np.testing.assert_allclose(found, slope(away), rtol=1e-7, atol=1e-8)
    slope = (divergence.generator(u * (1 + step)) - divergence.generator(u * (1 - step))) / (2.0 * step * u)
    off = np.abs(s) > 0.1
    np.testing.assert_allclose(slope[off], witness[off], rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_small_and_large_divergences_keep_their_digits(name: str) -> None:
    """Q within 1e-9 of P: half the Fisher information per f″(1), not rounding; and e^±1000 does not overflow."""
    divergence = DIVERGENCES[name]
    log_p = np.log([0.3, 0.7])
    small = np.array([1e-9, -1e-9 * 0.3 / 0.7])
    log_q = log_p + np.log1p(small)
    second = {"chi_squared": 2.0, "squared_hellinger": 0.5, "twice_jensen_shannon": 0.5}.get(name, 1.0)
    expected = 0.5 * second * float(np.exp(log_p) @ small**2)
    if name == "total_variation":
        expected = 0.5 * float(np.exp(log_p) @ np.abs(small))
    assert divergence.value(log_q, log_p) == pytest.approx(expected, rel=1e-5)
    apart = np.array([0.0, -1000.0]), np.array([-1000.0, 0.0])
    expected_apart = {
        "kl": 1000.0, "reverse_kl": 1000.0, "chi_squared": np.inf, "squared_hellinger": 2.0,
        "twice_jensen_shannon": 2.0 * np.log(2.0), "total_variation": 1.0,
    }  # fmt: skip
    assert divergence.value(*apart) == pytest.approx(expected_apart[name])


def test_witnesses_where_one_law_has_no_mass() -> None:
    with np.errstate(divide="ignore"):
        log_q, log_p = np.log([0.5, 0.5, 0.0]), np.log([0.5, 0.0, 0.5])
    hellinger = DIVERGENCES["squared_hellinger"]
    best = np.array([0.0, 1.0, -1e9])  # the ends of the slope: 1 at infinity, −∞ at zero
    assert hellinger.variational(best, log_q, log_p) == pytest.approx(hellinger.value(log_q, log_p), abs=1e-8)
    assert hellinger.variational(np.array([0.0, 1.5, 0.0]), log_q, log_p) == -np.inf
    assert hellinger.variational(np.array([1.0, 0.0, 0.0]), log_q, log_p) == -np.inf
    assert KL.variational(np.array([0.0, 700.0, -np.inf]), log_q, log_p) > 300.0  # KL is infinite, so is the bound
    assert np.isfinite(DIVERGENCES["reverse_kl"].value(np.array([0.0, -800.0]), np.array([-1e3, 0.0])))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="negative"):
        KL.generator(-0.1)
    with pytest.raises(ValueError, match="positive"):
        KL.optimal_witness([0.0])
    with pytest.raises(ValueError, match="shape"):
        KL.value(np.zeros(1), np.log([0.5, 0.5]))
