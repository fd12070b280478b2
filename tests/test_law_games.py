"""The closed-form case studies: limits, optimality, exact flag probabilities."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product
from math import inf

import numpy as np
import pytest

from bylaw.compiler.law.games import (
    GameCase,
    censorship,
    equilibrium,
    flag_probability,
    flag_probability_gaussian,
    game_table,
    phishing,
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
    with pytest.raises(ValueError, match="one length"):
        GameCase("bad", ("a",), (1.0,), (0.0, 0.0), (Fraction(0),), Fraction(0))
