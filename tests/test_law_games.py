"""The closed-form case studies: limits, optimality, exact flag probabilities."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise, product
from math import comb, inf

import numpy as np
import pytest
from scipy.stats import norm

from bylaw.compiler.law.equilibria import solve_game
from bylaw.compiler.law.games import (
    GameCase,
    censorship,
    equilibrium,
    exact_flag_probability,
    flag_probability,
    flag_probability_gaussian,
    game_table,
    kolmogorov_distance,
    phishing,
    score_law,
)
from bylaw.compiler.law.gibbs import entropy, kl_divergence

CASES = [censorship(), phishing()]


def brute_flag_probability(case: GameCase, log_q: np.ndarray, positions: int) -> float:
    total = 0.0
    for response in product(range(len(case.classes)), repeat=positions):
        if sum((case.score[c] for c in response), Fraction(0)) >= case.threshold * positions:
            total += float(np.exp(sum(log_q[c] for c in response)))
    return total


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_limits_of_the_regulator(case: GameCase) -> None:
    free = np.exp(np.array(case.utility))
    np.testing.assert_allclose(np.exp(equilibrium(case, 0.0)), free / free.sum(), atol=1e-12)
    np.testing.assert_allclose(np.exp(equilibrium(case, inf)), case.reference, atol=1e-12)
    np.testing.assert_allclose(np.exp(equilibrium(case, 1e9)), case.reference, atol=1e-8)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_equilibrium_is_optimal_and_its_value_is_log_z(case: GameCase) -> None:
    """q_λ maximises E[u] + H(q) − λ KL(q‖ref), with value (1+λ) log Z."""
    reference, utility = np.log(case.reference), np.array(case.utility)

    def objective(log_q: np.ndarray, strength: float) -> float:
        return float(np.exp(log_q) @ utility) + entropy(log_q) - strength * kl_divergence(log_q, reference)

    rng = np.random.default_rng(0)
    for strength in (0.0, 0.5, 2.0, 10.0):
        best = objective(equilibrium(case, strength), strength)
        log_z = np.log(np.exp((strength * reference + utility) / (1.0 + strength)).sum())
        assert best == pytest.approx((1.0 + strength) * log_z, abs=1e-12)
        for _ in range(20):
            assert objective(np.log(rng.dirichlet(np.ones(3))), strength) <= best


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("positions", [1, 2, 4, 5, 8])
def test_flag_probability_against_brute_force(case: GameCase, positions: int) -> None:
    for strength in (0.0, 1.0, 10.0):
        log_q = equilibrium(case, strength)
        expected = brute_flag_probability(case, log_q, positions)
        assert flag_probability(case, log_q, positions) == pytest.approx(expected, rel=1e-12)


def test_ties_count_as_flagged() -> None:
    """With one position and score exactly at the threshold, the middle class is flagged."""
    for case in CASES:
        log_q = equilibrium(case, 1.0)
        assert flag_probability(case, log_q, 1) == pytest.approx(float(np.exp(log_q[1:]).sum()), rel=1e-14)


def test_scores_are_compared_as_rationals() -> None:
    """Six scores of 1/10 tie with 6 · 1/10; 0.1 added up six times is 0.6 < 0.1 · 6 = 0.6000000000000001 in floats."""
    scores = (Fraction(1, 10), Fraction(0))
    case = GameCase("ties", ("high", "low"), (0.5, 0.5), (0.0, 0.0), scores, Fraction(1, 10))
    assert flag_probability(case, np.log([0.5, 0.5]), 6) == pytest.approx(2.0**-6)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_table_moves_the_way_the_game_says(case: GameCase) -> None:
    rows = game_table(case)
    assert [row.strength for row in rows] == [0.0, 0.5, 1.0, 2.0, 5.0, 10.0]
    for earlier, later in pairwise(rows):
        assert later.utility < earlier.utility
        assert later.kl < earlier.kl
        assert later.flag_probability < earlier.flag_probability
    tail = rows[-1]
    assert tail.flag_probability > 10.0 * tail.flag_probability_gaussian  # the approximation fails where it matters
    assert rows[2].flag_probability_gaussian == pytest.approx(rows[2].flag_probability, rel=0.02)
    assert all(0.0 <= row.flag_probability <= 1.0 for row in rows)


# name, λ, utility, entropy, KL (nats per position), exact flag probability at L = 100: computed apart from the package
# with mpmath at 50 digits, by summing the multinomial law.
REFERENCE_TABLE = [
    ("censorship", 0.0, 1.37963622503684, 0.984520688755507, 1.1105507201901, 1.0),
    ("censorship", 0.5, 1.14213583410847, 1.09238302793119, 0.48620386472833, 0.999949109031907),
    ("censorship", 1.0, 1.00805991943618, 1.06080531689918, 0.253786813119285, 0.930874304693267),
    ("censorship", 2.0, 0.879266852961706, 0.976264035965962, 0.100311367070116, 0.200386941977488),
    ("censorship", 5.0, 0.765590448293038, 0.857082222797453, 0.021539496234283, 0.00119921920323377),
    ("censorship", 10.0, 0.72044799491314, 0.797269993733952, 0.0059276673768925, 3.38774385898295e-5),
    ("phishing", 0.0, 1.46982651772826, 0.932866096806254, 1.61300263412435, 1.0),
    ("phishing", 0.5, 1.1006420695536, 1.09679839995884, 0.607518234307137, 0.999996039109029),
    ("phishing", 1.0, 0.93257167823111, 1.03447807523697, 0.281516425660693, 0.946711303643855),
    ("phishing", 2.0, 0.802132610862423, 0.912823084146087, 0.098336067946684, 0.163256104659742),
    ("phishing", 5.0, 0.709708658729255, 0.773324365174802, 0.0189290036423706, 0.000490685734665413),
    ("phishing", 10.0, 0.678112791100676, 0.711588214656426, 0.0049963675669514, 1.02424813269199e-5),
]


def test_both_tables_against_high_precision() -> None:
    rows = [(case.name, row) for case in CASES for row in game_table(case)]
    for (name, row), expected in zip(rows, REFERENCE_TABLE, strict=True):
        found = (row.utility, row.entropy, row.kl, row.flag_probability)
        assert (name, row.strength) == expected[:2]
        np.testing.assert_allclose(found, expected[2:], rtol=1e-11)


def decimal_row(case: GameCase, strength: str, positions: int) -> list[Decimal]:
    """Law, utility, entropy, KL, value and flag probability by the definitions, in decimals with 60 digits.

    Nothing of the package is used but the case's numbers: the flag probability is a sum over the counts of classes.
    """
    weight = Decimal(strength)
    reference = [Decimal(str(value)) for value in case.reference]
    utility = [Decimal(str(value)) for value in case.utility]
    mass = [((weight * p.ln() + u) / (1 + weight)).exp() for p, u in zip(reference, utility, strict=True)]
    z = sum(mass)
    q = [value / z for value in mass]
    mean = sum(a * b for a, b in zip(q, utility, strict=True))
    spread = -sum(a * a.ln() for a in q)
    kl = sum(a * (a / b).ln() for a, b in zip(q, reference, strict=True))
    flagged = Decimal(0)
    for second in range(positions + 1):
        for third in range(positions + 1 - second):
            if second * case.score[1] + third * case.score[2] >= case.threshold * positions:
                ways = comb(positions, second) * comb(positions - second, third)
                flagged += ways * q[0] ** (positions - second - third) * q[1] ** second * q[2] ** third
    return [*q, mean, spread, kl, (1 + weight) * z.ln(), flagged]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_figure_against_an_independent_computation(case: GameCase) -> None:
    """Twelve digits of every figure of both tables, from the definitions in 60-digit decimals."""
    with localcontext() as context:
        context.prec = 60
        for row, strength in zip(game_table(case), ("0", "0.5", "1", "2", "5", "10"), strict=True):
            expected = [float(value) for value in decimal_row(case, strength, 100)]
            found = [*row.probabilities, row.utility, row.entropy, row.kl, row.value, row.flag_probability]
            np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_closed_form_is_the_solved_equilibrium(case: GameCase) -> None:
    for row in game_table(case):
        solved = solve_game(case.utility, np.log(case.reference), row.strength)
        np.testing.assert_allclose(np.exp(solved.log_q), row.probabilities, atol=1e-12)
        assert solved.value == pytest.approx(row.value, abs=1e-12)


def brute_exact(case: GameCase, law: list[Fraction], positions: int) -> Fraction:
    total = Fraction(0)
    for response in product(range(len(law)), repeat=positions):
        if sum((case.score[c] for c in response), Fraction(0)) >= case.threshold * positions:
            weight = Fraction(1)
            for c in response:
                weight *= law[c]
            total += weight
    return total


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rational_laws_give_rational_flag_probabilities(case: GameCase) -> None:
    law = [Fraction(str(value)) for value in case.reference]
    for positions in (1, 2, 5):
        assert exact_flag_probability(case, law, positions) == brute_exact(case, law, positions)
    for positions in (1, 4, 20, 100):
        exact = exact_flag_probability(case, law, positions)
        # far in the tail too: the floats keep their relative accuracy
        assert flag_probability(case, np.log(case.reference), positions) == pytest.approx(float(exact), rel=1e-12)


def test_fractions_decide_ties_exactly() -> None:
    """P(exactly on the threshold) is inside for ≥, and moving the threshold by any amount takes it out."""
    case = censorship()
    law = [Fraction(1, 2), Fraction(1, 3), Fraction(1, 6)]
    above = replace(case, threshold=case.threshold + Fraction(1, 10**12))
    tie = exact_flag_probability(case, law, 4) - exact_flag_probability(above, law, 4)
    # total 1 of 4 positions: four times 1/4, or once 1 and three times 0
    assert tie == law[1] ** 4 + 4 * law[2] * law[0] ** 3
    assert score_law(case, np.log([float(p) for p in law]), 4).probability[4] == pytest.approx(float(tie), rel=1e-14)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_kolmogorov_distance_against_brute_force(case: GameCase) -> None:
    """The supremum over a fine grid with both sides of every step comes up to it, never above."""
    log_q = equilibrium(case, 1.0)
    score = np.array([float(value) for value in case.score])
    for positions in (1, 3, 5):
        totals: dict[Fraction, float] = {}
        for response in product(range(3), repeat=positions):
            total = sum((case.score[c] for c in response), Fraction(0))
            totals[total] = totals.get(total, 0.0) + float(np.exp(sum(log_q[c] for c in response)))
        mean = float(np.exp(log_q) @ score)
        deviation = float(np.sqrt(positions * (np.exp(log_q) @ (score - mean) ** 2)))
        where = np.array([float(total) for total in totals])
        mass = np.array(list(totals.values()))
        grid = np.concatenate([where, where - 1e-12, np.linspace(-1.0, positions + 1.0, 2001)])
        upto = np.array([mass[where <= x].sum() for x in grid])
        apart = np.abs(upto - norm.cdf(grid, positions * mean, deviation)).max()
        assert kolmogorov_distance(case, log_q, positions) == pytest.approx(apart, abs=1e-9)


def test_kolmogorov_distance_falls_as_the_central_limit_theorem_says() -> None:
    """Berry-Esseen: distance · √L stays below 0.4748 · ρ/σ³ and tends to a constant for lattice scores."""
    for case in CASES:
        log_q = equilibrium(case, 2.0)
        probability, score = np.exp(log_q), np.array([float(value) for value in case.score])
        mean = float(probability @ score)
        sigma = float(np.sqrt(probability @ (score - mean) ** 2))
        limit = 0.4748 * float(probability @ np.abs(score - mean) ** 3) / sigma**3
        scaled = [kolmogorov_distance(case, log_q, length) * np.sqrt(length) for length in (50, 200, 800)]
        assert max(scaled) <= limit
        assert scaled[2] == pytest.approx(scaled[1], rel=0.02)
    certain = GameCase("sure", ("a",), (1.0,), (0.0,), (Fraction(1),), Fraction(1))
    assert kolmogorov_distance(certain, np.zeros(1), 5) == 0.0


def test_degenerate_law_and_refusals() -> None:
    case = censorship()
    with np.errstate(divide="ignore"):
        certain = np.log([1.0, 0.0, 0.0])
    assert flag_probability_gaussian(case, certain, 10) == 0.0
    assert flag_probability(case, certain, 10) == 0.0
    with pytest.raises(ValueError, match="nonnegative"):
        equilibrium(case, -1.0)
    with pytest.raises(ValueError, match="position"):
        flag_probability(case, certain, 0)
    with pytest.raises(ValueError, match="exactly one"):
        exact_flag_probability(case, [Fraction(1, 2), Fraction(1, 3), Fraction(1, 7)], 3)
    with pytest.raises(ValueError, match="one length"):
        GameCase("bad", ("a",), (1.0,), (0.0, 0.0), (Fraction(0),), Fraction(0))
