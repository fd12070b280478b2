"""Detection: Bayes errors against enumeration, exponents, bounds, and the sizes of audits."""

from __future__ import annotations

from itertools import product
from math import ceil, comb, inf, log

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binom

from bylaw.compiler.law import detection
from bylaw.compiler.law.detection import (
    TooManyTypes,
    bayes_error,
    bayes_error_bounds,
    chernoff_exponent,
    rate_test,
    responses_to_detect,
    stein_exponent,
)


def pair(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.log(rng.dirichlet(np.ones(size))), np.log(rng.dirichlet(np.ones(size)))


def brute_error(log_p0: np.ndarray, log_p1: np.ndarray, responses: int) -> float:
    total = 0.0
    for each in product(range(log_p0.size), repeat=responses):
        total += min(np.exp(log_p0[list(each)].sum()), np.exp(log_p1[list(each)].sum()))
    return 0.5 * total


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("responses", [0, 1, 2, 5])
def test_bayes_error_against_enumeration(size: int, responses: int) -> None:
    for seed in range(3):
        laws = pair(seed, size)
        found = bayes_error(*laws, responses)
        assert found == pytest.approx(brute_error(*laws, responses), abs=1e-13)
        low, high = bayes_error_bounds(*laws, responses)
        assert low - 1e-15 <= found <= high + 1e-15


def test_bayes_error_with_responses_that_only_one_law_gives() -> None:
    with np.errstate(divide="ignore"):
        laws = np.log([0.6, 0.4, 0.0]), np.log([0.5, 0.0, 0.5])
    for responses in (1, 3, 6):
        assert bayes_error(*laws, responses) == pytest.approx(brute_error(*laws, responses), abs=1e-14)
    with np.errstate(divide="ignore"):
        apart = np.log([1.0, 0.0]), np.log([0.0, 1.0])
    assert bayes_error(*apart, 1) == 0.0
    assert chernoff_exponent(*apart).exponent == inf
    assert stein_exponent(*apart) == inf
    assert responses_to_detect(*apart, 0.01).least == 1


def test_responses_of_one_likelihood_ratio_count_as_one() -> None:
    """Fifty responses with two ratios are as quick as two, and the error is that of the two."""
    rng = np.random.default_rng(0)
    fine = rng.dirichlet(np.ones(50))
    rule = np.arange(50) % 5 == 0
    tilted = np.where(rule, 0.25, 1.0) * fine
    tilted /= tilted.sum()
    coarse = [np.log([law[rule].sum(), law[~rule].sum()]) for law in (fine, tilted)]
    for responses in (10, 400):
        expected = bayes_error(coarse[0], coarse[1], responses)
        assert bayes_error(np.log(fine), np.log(tilted), responses) == pytest.approx(expected, rel=1e-9)


def test_exponents_against_general_minimisation_and_the_limit() -> None:
    for seed in range(5):
        log_p0, log_p1 = pair(20 + seed, 3)
        found = chernoff_exponent(log_p0, log_p1)
        search = minimize_scalar(
            lambda s, a=log_p0, b=log_p1: float(np.log(np.exp((1 - s) * a + s * b).sum())),
            bounds=(0.0, 1.0),
            method="bounded",
            options={"xatol": 1e-12},
        )
        assert found.exponent == pytest.approx(-search.fun, abs=1e-12)
        assert found.tilt == pytest.approx(search.x, abs=1e-5)
        assert 0.0 < found.exponent <= min(stein_exponent(log_p0, log_p1), stein_exponent(log_p1, log_p0))
        # −log B_n / n tends to C from above, up to (log n)/(2n).
        rates = [-log(bayes_error(log_p0, log_p1, n)) / n for n in (50, 200)]
        assert all(rate >= found.exponent for rate in rates)
        assert rates[1] - found.exponent < 0.6 * (rates[0] - found.exponent)


def test_stein_exponent_is_the_rate_of_the_other_error() -> None:
    """Hold the error under P0 at 5 %: the smallest error under P1 falls at KL(P0‖P1), found by exact binomial tests."""
    before, after = 0.3, 0.1
    wanted = stein_exponent(np.log([before, 1 - before]), np.log([after, 1 - after]))
    rates = []
    for n in (1000, 4000):
        cut = int(binom.ppf(0.05, n, before)) - 1  # the largest k with P(X ≤ k) ≤ 5 % under P0
        rates.append(-binom.logsf(cut, n, after) / n)
    assert rates[0] < rates[1] < wanted
    assert rates[1] == pytest.approx(wanted, rel=0.2)
    assert (wanted - rates[1]) == pytest.approx(0.5 * (wanted - rates[0]), rel=0.2)  # the gap goes as 1/√n


@pytest.mark.parametrize("error", [0.2, 0.05, 0.01])
def test_the_smallest_number_of_responses(error: float) -> None:
    for seed in range(3):
        laws = pair(30 + seed, 3)
        found = responses_to_detect(*laws, error)
        assert found.sufficient == ceil(log(0.5 / error) / found.exponent)
        assert found.least is not None
        assert found.least <= found.sufficient
        assert bayes_error(*laws, found.least) <= error < bayes_error(*laws, found.least - 1)


@pytest.mark.parametrize(
    ("before", "after", "error"), [(0.3, 0.1, 0.05), (0.1, 0.02, 0.1), (0.05, 0.0, 0.05), (0.2, 0.5, 0.01)]
)
def test_the_smallest_audit_against_all_thresholds(before: float, after: float, error: float) -> None:
    def wrong(n: int, k: int) -> tuple[float, float]:
        if after < before:
            return float(binom.cdf(k, n, before)), float(binom.sf(k, n, after))
        return float(binom.sf(k - 1, n, before)), float(binom.cdf(k - 1, n, after))

    found = rate_test(before, after, error)
    assert found.responses is not None
    assert found.threshold is not None
    assert found.responses <= found.sufficient
    errors = wrong(found.responses, found.threshold)
    assert (found.error_before, found.error_after) == (pytest.approx(errors[0]), pytest.approx(errors[1]))
    assert max(errors) <= error
    for n in range(1, found.responses):
        assert all(max(wrong(n, k)) > error for k in range(-1, n + 2))
    assert found.bayes.least is not None
    assert found.bayes.least <= found.responses


def test_ties_of_exact_errors_count_as_reached() -> None:
    """Rates 1/2 and 0: P(no break among 4) = 1/16 exactly."""
    found = rate_test(0.5, 0.0, 0.0625)
    assert (found.responses, found.threshold) == (4, 0)


def test_an_audit_keeps_its_promise_in_simulation() -> None:
    """20,000 audits at each rate; false alarm of this test below 1e-6 (five standard errors)."""
    found = rate_test(0.1, 0.05, 0.05)
    assert found.responses is not None
    assert found.threshold is not None
    rng = np.random.default_rng(5)
    for rate, right in ((0.1, lambda k: k > found.threshold), (0.05, lambda k: k <= found.threshold)):
        wrong = 1.0 - np.mean(right(rng.binomial(found.responses, rate, 20_000)))
        assert wrong <= 0.05 + 5.0 * np.sqrt(0.05 * 0.95 / 20_000)


def test_sizes_beyond_exact_computation_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    laws = pair(40, 6)
    monkeypatch.setattr(detection, "MOST_TYPES", 1000)
    with pytest.raises(TooManyTypes, match="types, more than 1000"):
        bayes_error(*laws, 30)
    assert comb(35, 5) > 1000
    assert bayes_error_bounds(*laws, 30)[0] < bayes_error_bounds(*laws, 30)[1]
    close = laws[0], np.logaddexp(laws[0] + log(0.9), laws[1] + log(0.1))
    assert responses_to_detect(*close, 0.01).least is None
    monkeypatch.setattr(detection, "MOST_SIZES", 10)
    found = rate_test(0.3, 0.29, 0.05)
    assert (found.responses, found.threshold, found.error_before) == (None, None, None)
    assert found.sufficient > 10_000


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: rate_test(0.1, 0.1, 0.05), "both rates"),
        (lambda: rate_test(1.1, 0.1, 0.05), "between 0 and 1"),
        (lambda: rate_test(float("nan"), 0.1, 0.05), "between 0 and 1"),
        (lambda: rate_test(0.2, 0.1, 0.5), "between 0 and 1/2"),
        (lambda: rate_test(0.2, 0.1, 0.0), "between 0 and 1/2"),
        (lambda: responses_to_detect(np.log([0.3, 0.6, 0.1]), np.log([0.3, 0.6, 0.1]), 0.1), "the same"),
        (lambda: bayes_error(np.log([0.5, 0.5]), np.log([0.5, 0.5]), -1), "negative"),
        (lambda: bayes_error_bounds(np.log([0.5, 0.5]), np.log([0.5, 0.5]), -1), "negative"),
        (lambda: bayes_error(np.log([0.5, 0.4]), np.log([0.5, 0.5]), 1), "log_p0 is not normalised"),
        (lambda: bayes_error(np.log([0.5, 0.5]), np.log([1.0]), 1), "one shape"),
    ],
)
def test_refusals(call: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()  # type: ignore[operator]
