"""The intervals of an audit: published values, scipy as oracle, and what has to hold of every interval."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from bylaw.runtime.audit import clustered, statistics
from bylaw.runtime.audit.counts import ClusterCounts
from bylaw.runtime.record import Interval

CLUSTERED = ([1.0, 1, 1, 0, 0, 0, 1, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])


@pytest.mark.parametrize(
    ("count", "total", "wilson", "exact"),
    [
        (0, 20, (0, 0.161125), (0, 0.168433)),
        (1, 20, (0.008881, 0.236131), (0.001265, 0.248733)),
        (8, 10, (0.490162, 0.943318), (0.443905, 0.974789)),
        (45, 50, (0.786398, 0.956524), (0.781865, 0.966725)),
        (500, 1000, (0.469070, 0.530930), (0.468549, 0.531451)),
        (20, 20, (0.838875, 1), (0.831567, 1)),
    ],
)
def test_intervals_of_a_share(count, total, wilson, exact):
    assert _pair(statistics.wilson(count, total)) == pytest.approx(wilson, abs=5e-7)
    assert _pair(statistics.clopper_pearson(count, total)) == pytest.approx(exact, abs=5e-7)


@pytest.mark.parametrize(("total", "bound"), [(20, 0.139108), (59, 0.049508), (100, 0.029513), (299, 0.009969)])
def test_upper_bound_without_any_violation(total, bound):
    assert statistics.exact_upper(0, total) == pytest.approx(bound, abs=5e-7)
    assert statistics.exact_upper(0, total) == pytest.approx(1 - 0.05 ** (1 / total), abs=1e-12)


@given(st.integers(1, 3000), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.999]))
def test_exact_intervals_agree_with_scipy(total, share, confidence):
    count = round(share * total)
    theirs = stats.binomtest(count, total)
    for ours, method in ((statistics.clopper_pearson, "exact"), (statistics.wilson, "wilson")):
        expected = theirs.proportion_ci(confidence, method=method)
        assert _pair(ours(count, total, confidence)) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.floats(0.05, 2000), st.floats(0.05, 2000), st.floats(0.0, 1.0))
def test_beta_distribution_agrees_with_scipy(a, b, x):
    assert statistics.beta_cdf(x, a, b) == pytest.approx(special.betainc(a, b, x), abs=1e-9)


@given(st.floats(0.001, 0.999), st.sampled_from([1, 2, 3, 7, 30, 255, 10_000]))
def test_t_quantiles_agree_with_scipy(probability, degrees):
    assert statistics.t_quantile(probability, degrees) == pytest.approx(
        stats.t.ppf(probability, degrees), abs=1e-9, rel=1e-9
    )


def test_clustered_mean_of_the_worked_example():
    values, clusters = CLUSTERED
    naive, together = statistics.estimate(values), statistics.estimate(values, clusters)
    assert (naive.mean, naive.standard_error) == pytest.approx((0.583333, 0.148647), abs=5e-7)
    assert (together.mean, together.standard_error) == pytest.approx((0.583333, 0.209718), abs=5e-7)
    assert _pair(statistics.mean_interval(values, clusters)) == pytest.approx((-0.084082, 1.250748), abs=5e-7)


def test_a_rate_of_few_clusters_stays_between_zero_and_one_and_is_wider_than_the_naive_one():
    values, clusters = CLUSTERED
    outcomes = [bool(v) for v in values]
    together, naive = clustered.rate_interval(outcomes, clusters), clustered.rate_interval(outcomes)
    assert 0 <= together.low < naive.low < naive.high < together.high <= 1


def test_answers_without_any_violation_count_as_many_as_there_are_prompts():
    # nothing tells how alike the answers to one prompt are, so twenty prompts are worth twenty answers
    outcomes, clusters = [False] * 100, [i // 5 for i in range(100)]
    counts = ClusterCounts.of_outcomes(outcomes, clusters)
    assert clustered.bound_of(counts, True, 0.95) == pytest.approx(0.139108, abs=5e-7)
    assert clustered.rate_interval(outcomes, clusters).high > statistics.wilson(0, 20).high


def test_one_cluster_tells_nothing_about_the_spread():
    assert clustered.rate_interval([True, False], ["a", "a"]) == Interval(0.0, 1.0)
    assert statistics.mean_interval([1.0, 2.0], ["a", "a"]) is None
    assert statistics.mean_bound([1.0], True) is None


def test_mean_bound_is_the_one_sided_t_bound():
    values = [1.0, 2.0, 4.0, 8.0]
    expected = stats.t.ppf(0.9, 3) * stats.sem(values)
    assert statistics.mean_bound(values, True, 0.9) == pytest.approx(3.75 + expected)
    assert statistics.mean_bound(values, False, 0.9) == pytest.approx(3.75 - expected)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=1, max_size=60), st.booleans())
def test_a_rate_lies_in_its_interval_and_inside_its_bounds(samples, is_clustered):
    outcomes = [outcome for outcome, _ in samples]
    clusters = [cluster for _, cluster in samples] if is_clustered else range(len(samples))
    rate = sum(outcomes) / len(outcomes)
    interval = clustered.rate_interval(outcomes, clusters)
    counts = ClusterCounts.of_outcomes(outcomes, clusters)
    assert 0 <= interval.low <= rate <= interval.high <= 1
    assert interval.low < interval.high
    assert clustered.bound_of(counts, False, 0.95) <= rate + 1e-12
    assert clustered.bound_of(counts, True, 0.95) >= rate - 1e-12


@given(st.lists(st.booleans(), min_size=2, max_size=40))
def test_clusters_of_one_are_no_clusters(outcomes):
    values = [float(o) for o in outcomes]
    assert statistics.estimate(values, range(len(values))) == statistics.estimate(values)


def test_kappa():
    assert statistics.cohen_kappa(4, 1, 1, 2) == pytest.approx(0.466667, abs=5e-7)
    assert statistics.cohen_kappa(5, 0, 0, 0) is None
    assert statistics.cohen_kappa(0, 0, 0, 0) is None


@pytest.mark.parametrize(("count", "total"), [(1, 0), (-1, 5), (6, 5)])
def test_what_is_no_share_is_refused(count, total):
    with pytest.raises(ValueError, match="not a share"):
        statistics.wilson(count, total)


def _pair(interval: Interval | None) -> tuple[float, float]:
    assert interval is not None
    return interval.low, interval.high
