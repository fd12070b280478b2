"""Clustered means and rates, two models on the same prompts, unscored samples, and the score of a whole policy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from bylaw.runtime.audit import bounds, clustered, comparison, policy_score, posterior, statistics
from bylaw.runtime.record import Interval

CLUSTERED = ([1.0, 1, 1, 0, 0, 0, 1, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])


def pair(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


# ------------------------------------------------------------------------------------------------- clustered values
def test_the_worked_example_of_clusters():
    found = clustered.mean(*CLUSTERED)
    assert (found.mean, found.standard_error, found.degrees) == pytest.approx((0.583333, 0.209718, 3), abs=5e-7)
    assert pair(found.unclipped) == pytest.approx((-0.084082, 1.250748), abs=5e-7)
    assert pair(found.interval) == (0.0, 1.0)
    assert "4 clusters are few" in found.warnings[0]
    # independent samples, and the clustered error without its factor
    assert clustered.mean(CLUSTERED[0]).standard_error == pytest.approx(0.148647, abs=5e-7)
    assert found.standard_error / math.sqrt(4 / 3) == pytest.approx(0.181621, abs=5e-7)


def test_clusters_with_equal_means_leave_no_point():
    for values in ([0.0, 1.0], [0.1, 0.2, 0.3]):
        names = [n // len(values) for n in range(5 * len(values))]
        found = clustered.mean(values * 5, names)
        away = 1 - 0.05 ** (1 / 5)
        assert found.standard_error == 0
        assert found.interval.low == pytest.approx(found.mean * (1 - away))
        assert found.interval.high == pytest.approx(found.mean + away * (1 - found.mean))
        with pytest.raises(ValueError, match="without bounds"):
            clustered.mean(values * 5, names, bounds=None)
        assert statistics.mean_interval(values * 5, names) is None
        assert statistics.mean_bound(values * 5, True, 0.95, names) is None


def test_the_warning_ends_at_ten_clusters():
    for groups, warned in ((2, True), (9, True), (10, False)):
        outcomes, names = [float(i % 4 < 2) for i in range(2 * groups)], [i // 2 for i in range(2 * groups)]
        assert bool(clustered.rate(outcomes, names).warnings) is warned
        assert bool(clustered.mean(outcomes, names).warnings) is warned


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.integers(0, 6)), min_size=2, max_size=80))
def test_an_interval_of_a_share_holds_the_share_and_is_never_a_point(samples):
    outcomes, names = [outcome for outcome, _ in samples], [name for _, name in samples]
    if len(set(names)) < 2:
        with pytest.raises(ValueError, match="one cluster says nothing"):
            clustered.rate(outcomes, names)
        return
    found = clustered.rate(outcomes, names)
    assert 0 <= found.interval.low <= found.mean <= found.interval.high <= 1
    assert found.interval.low < found.interval.high
    assert found.design_effect >= 1
    assert found.standard_error == pytest.approx(statistics.estimate(outcomes, names).standard_error, abs=1e-12)
    # the mirror image has the mirrored interval
    mirror = clustered.rate([1 - outcome for outcome in outcomes], names).interval
    assert pair(found.interval) == pytest.approx((1 - mirror.high, 1 - mirror.low), abs=1e-12)


def test_clusters_of_one_sample_have_the_interval_of_wilson():
    assert clustered.rate([1.0] * 45 + [0.0] * 5).interval == statistics.wilson(45, 50)
    assert pair(clustered.rate([1.0] * 45 + [0.0] * 5, range(50)).interval) == pytest.approx(
        (0.786398, 0.956524), abs=5e-7
    )


def test_without_any_event_each_prompt_counts_once():
    found = clustered.rate([0.0] * 500, [i // 5 for i in range(500)])
    assert found.effective == pytest.approx(100)
    assert found.interval.high > statistics.wilson(0, 100).high


def test_equal_scores_have_an_interval_from_the_number_of_clusters():
    found = clustered.mean([0.5] * 20, [i // 2 for i in range(20)])
    reach = 0.5 * (1 - 0.05 ** (1 / 10))
    assert pair(found.interval) == pytest.approx((0.5 - reach, 0.5 + reach))
    assert pair(found.unclipped) == (0.5, 0.5)
    with pytest.raises(ValueError, match="without bounds nothing"):
        clustered.mean([0.5] * 20, bounds=None)


# one run in 20,000 fails by chance with another seed: each side of each row is tested at 1e-5 or less
@pytest.mark.parametrize(
    ("rate", "prompts", "each", "correlation", "most"),
    [
        (0.3, 20, 5, 0.3, 0.965),
        (0.1, 30, 10, 0.3, 0.965),
        (0.05, 50, 10, 0.3, 0.965),
        (0.9, 40, 10, 0.2, 0.965),
        # so few clusters with an event that, by luck, they look independent: without the prior it covers 88 %
        (0.05, 30, 20, 0.5, 1.0),
    ],
)
def test_coverage_of_clustered_rates(rate, prompts, each, correlation, most):
    draws, names = 1200, np.repeat(np.arange(prompts), each).tolist()
    size = (1 - correlation) / correlation
    generator = np.random.default_rng(int(1000 * rate) + prompts)
    hits = plain = 0
    for _ in range(draws):
        level = np.repeat(generator.beta(rate * size, (1 - rate) * size, prompts), each)
        outcomes = (generator.random(prompts * each) < level).astype(float).tolist()
        found = clustered.rate(outcomes, names).interval
        naive = statistics.wilson(sum(outcomes), len(outcomes))
        hits += found.low <= rate <= found.high
        plain += naive.low <= rate <= naive.high
    assert stats.binom.cdf(hits, draws, 0.935) > 1e-5, hits / draws
    assert stats.binom.sf(hits - 1, draws, most) > 1e-5, hits / draws
    # what would be wrong without clusters is
    assert plain / draws < 0.9


# -------------------------------------------------------------------------------------------------- the same prompts
@pytest.mark.parametrize(("first", "second", "p_value"), [(3, 12, 0.035156), (10, 25, 0.016674)])
def test_mcnemar_of_the_worked_examples(first, second, p_value):
    assert comparison.mcnemar_counts(first, second) == pytest.approx(p_value, abs=5e-7)
    ours = comparison.mcnemar([1] * first + [0] * second + [1, 0], [0] * first + [1] * second + [1, 0])
    assert (ours.first_only, ours.second_only, ours.pairs) == (first, second, first + second + 2)
    assert ours.p_value == pytest.approx(p_value, abs=5e-7)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_agrees_with_scipy(first, second):
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert comparison.mcnemar_counts(first, second) == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 5)), min_size=1, max_size=14))
def test_mcnemar_by_clusters_is_the_exact_law_of_sign_changes(samples):
    first, second, names = (list(part) for part in zip(*samples, strict=True))
    sums: dict[int, int] = {}
    for one, two, name in samples:
        sums[name] = sums.get(name, 0) + one - two
    seen = abs(sum(sums.values()))
    flips = [
        abs(sum(s * v for s, v in zip(signs, sums.values(), strict=True))) >= seen
        for signs in itertools.product((-1, 1), repeat=len(sums))
    ]
    assert comparison.mcnemar(first, second, names).p_value == pytest.approx(sum(flips) / len(flips), abs=1e-12)
    # clusters of one are McNemar's own test
    alone = comparison.mcnemar(first, second, range(len(first)))
    assert alone.p_value == pytest.approx(comparison.mcnemar(first, second).p_value, abs=1e-12)


@pytest.mark.parametrize(("up", "down", "count"), [(3, 12, 40), (0, 4, 20), (0, 0, 30), (7, 7, 14), (20, 1, 60)])
def test_tango_inverts_the_score_test(up, down, count):
    """At each end the statistic with the most likely law, found by a numeric search, is the quantile."""
    quantile = 1.959963984540054
    found = comparison.tango(up, down, count, quantile)
    for delta in (found.low, found.high):
        least, most = max(0.0, -delta), (1 - delta) / 2

        def unlikely(share: float, delta: float = delta) -> float:
            with np.errstate(divide="ignore"):
                logs = np.log([max(share + delta, 1e-300), max(share, 1e-300), max(1 - 2 * share - delta, 1e-300)])
            return -float(np.dot([up, down, count - up - down], logs))

        share = optimize.minimize_scalar(unlikely, bounds=(least, most), method="bounded", options={"xatol": 1e-12}).x
        statistic = (up - down - count * delta) / math.sqrt(count * (2 * share + delta - delta**2))
        assert abs(statistic) == pytest.approx(quantile, abs=2e-3)
    assert found.low <= (up - down) / count <= found.high


def test_paired_difference_of_scores_is_the_t_interval_of_the_differences():
    first, second = [0.9, 0.4, 0.7, 0.6, 0.8], [0.5, 0.5, 0.6, 0.2, 0.3]
    found = comparison.paired_difference(first, second)
    expected = stats.ttest_rel(first, second)
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-10)
    assert pair(found.interval) == pytest.approx(tuple(expected.confidence_interval(0.95)), abs=1e-10)
    assert (found.first, found.second) == pytest.approx((0.68, 0.42))


def test_paired_difference_with_clusters_uses_the_clustered_error():
    values, names = CLUSTERED
    found = comparison.paired_difference([v / 2 for v in values], [0.0] * 12, names)
    assert found.standard_error == pytest.approx(0.209718 / 2, abs=5e-7)
    assert found.warnings


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 4)), min_size=2, max_size=60))
def test_a_paired_difference_lies_in_its_interval_and_turns_round(samples):
    first, second, names = (list(part) for part in zip(*samples, strict=True))
    if len(set(names)) < 2:
        return
    found, turned = (comparison.paired_difference(a, b, names) for a, b in ((first, second), (second, first)))
    assert -1 <= found.interval.low <= found.difference <= found.interval.high <= 1
    assert found.interval.low < found.interval.high
    assert pair(found.interval) == pytest.approx((-turned.interval.high, -turned.interval.low), abs=1e-7)
    assert found.p_value == pytest.approx(turned.p_value, abs=1e-12)


def test_equal_answers_of_both_models_are_no_proof_of_equality():
    same = [1.0, 0.0] * 15
    found = comparison.paired_difference(same, same)
    assert (found.difference, found.p_value) == (0.0, 1.0)
    assert found.interval.high > 0.1
    scores = comparison.paired_difference([0.3] * 10, [0.1] * 10)
    assert scores.p_value == pytest.approx(2 / 1024)
    assert scores.interval.low < 0.2 < scores.interval.high


# ----------------------------------------------------------------------------------------------- samples of their own
def test_newcombe_of_the_worked_example():
    assert pair(comparison.newcombe(45, 50, 38, 50).interval) == pytest.approx((-0.009397, 0.285551), abs=5e-7)
    outcomes = [1.0] * 45 + [0.0] * 5, [1.0] * 38 + [0.0] * 12
    assert comparison.independent_difference(*outcomes).interval == comparison.newcombe(45, 50, 38, 50).interval


def test_independent_samples_share_no_prompt():
    with pytest.raises(ValueError, match="2 clusters occur on both sides"):
        comparison.independent_difference([1, 0, 1], [0, 1, 1], ["a", "a", "b"], ["a", "b", "c"])


# ----------------------------------------------------------------------------------------------------------- unscored
def test_unscored_samples_widen_the_range_and_fail_above_two_per_cent():
    found = bounds.bounded_rate([1.0] * 5 + [0.0] * 92 + [None] * 3)
    assert (found.scored, found.unscored, found.unscored_share) == (97, 3, 0.03)
    assert found.rate == pytest.approx(5 / 97)
    assert (found.best, found.worst) == (0.05, 0.08)
    assert found.interval == statistics.wilson(5, 97)
    assert found.interval_of_all == Interval(statistics.wilson(5, 100).low, statistics.wilson(8, 100).high)
    assert not found.is_scored_enough
    assert bounds.bounded_rate([0.0] * 98 + [None] * 2).is_scored_enough


def test_where_nothing_is_scored_nothing_is_known():
    found = bounds.bounded_rate([None] * 4)
    assert (found.rate, found.interval, found.best, found.worst) == (None, Interval(0.0, 1.0), 0.0, 1.0)
    one = bounds.bounded_rate([None, 1.0, None], ["a", "b", "c"])
    assert (one.rate, one.interval) == (1.0, Interval(0.0, 1.0))


# ------------------------------------------------------------------------------------------------------------- priors
def test_posterior_intervals_of_the_worked_example():
    assert pair(posterior.interval(45, 50)) == pytest.approx((0.794645, 0.960806), abs=5e-7)
    assert pair(posterior.interval(45, 50, prior=posterior.UNIFORM)) == pytest.approx((0.785855, 0.955580), abs=5e-7)


@given(st.integers(1, 200), st.floats(0, 1), st.floats(0, 1))
def test_the_posterior_probability_agrees_with_scipy(total, share, limit):
    count = round(share * total)
    expected = stats.beta.sf(limit, 0.5 + count, 0.5 + total - count)
    assert posterior.probability_above(count, total, limit) == pytest.approx(expected, abs=1e-9)


def test_shrinking_finds_the_likeliest_prior_and_errs_less():
    generator = np.random.default_rng(6)
    truth = generator.beta(2, 38, 200)
    counts, totals = generator.binomial(30, truth), [30] * 200
    found = posterior.shrink(counts.tolist(), totals)

    def log_likelihood(mean: float, worth: float) -> float:
        return float(stats.betabinom.logpmf(counts, 30, mean * worth, (1 - mean) * worth).sum())

    best = log_likelihood(found.mean, found.worth)
    for mean, worth in itertools.product((0.97, 1, 1.03), (0.9, 1, 1.1)):
        assert best >= log_likelihood(found.mean * mean, found.worth * worth) - 1e-6
    raw = np.square(counts / 30 - truth).mean()
    assert np.square(np.array(found.rates) - truth).mean() < 0.7 * raw
    hits = [each.low <= t <= each.high for each, t in zip(found.intervals, truth, strict=True)]
    # 190 of 200 are expected; fewer than 180 come once in 1,000
    assert sum(hits) >= 180


def test_groups_that_do_not_differ_get_one_rate():
    found = posterior.shrink([10] * 20, [100] * 20)
    assert found.worth > 1e4
    assert found.rates == pytest.approx([0.1] * 20, abs=1e-4)


# --------------------------------------------------------------------------------------------------- the whole policy
def rules(**values: tuple[list[float], list[int] | None]) -> dict[str, policy_score.RuleValues]:
    return {k: policy_score.RuleValues(tuple(v), None if c is None else tuple(c)) for k, (v, c) in values.items()}


def test_rules_without_common_prompts_add_their_variances():
    one, two = [1.0, 0, 1, 1, 0, 1], [1.0, 1, 0, 1]
    found = policy_score.policy_score(rules(one=(one, None), two=(two, None)), {"one": 3, "two": 1})
    errors = clustered.rate(one).standard_error, clustered.rate(two).standard_error
    assert found.score == pytest.approx(0.75 * 4 / 6 + 0.25 * 3 / 4)
    assert found.standard_error == pytest.approx(math.hypot(0.75 * errors[0], 0.25 * errors[1]))
    assert found.weights == (("one", 0.75), ("two", 0.25))
    assert found.worst == "one"


def test_rules_on_common_prompts_have_the_error_of_their_sum():
    """With one value of each rule for each prompt, the score is the mean of the weighted sums of prompts."""
    generator = np.random.default_rng(5)
    table = (generator.random((40, 3)) < generator.random((40, 1))).astype(float)
    weights = np.array([0.5, 0.3, 0.2])
    values = {f"r{j}": (table[:, j].tolist(), list(range(40))) for j in range(3)}
    found = policy_score.policy_score(rules(**values), {f"r{j}": float(w) for j, w in enumerate(weights)})
    sums = table @ weights
    assert found.score == pytest.approx(sums.mean())
    assert found.standard_error == pytest.approx(sums.std(ddof=1) / math.sqrt(40))
    # one rule alone has its own interval
    alone = policy_score.policy_score(rules(r0=values["r0"]), {"r0": 7.0})
    assert alone.interval == clustered.rate(*values["r0"]).interval


def test_a_policy_that_was_always_kept_has_no_point_for_an_interval():
    clean = ([1.0] * 50, list(range(50)))
    found = policy_score.policy_score(rules(a=clean, b=clean), {"a": 1, "b": 1})
    assert found.interval.low == pytest.approx(statistics.wilson(50, 50).low)
    apart = policy_score.policy_score(rules(a=([1.0] * 50, None), b=([1.0] * 50, None)), {"a": 1, "b": 1})
    assert found.interval.low < apart.interval.low < 1


@pytest.mark.parametrize(
    ("values", "weights", "message"),
    [
        ({}, {}, "no rules"),
        ({"a": [1.0, 0.0]}, {}, "'a' has no weight"),
        ({"a": [1.0, 0.0]}, {"a": 1, "b": 1}, "'b' belongs to no rule"),
        ({"a": [1.0, 0.0]}, {"a": -1}, "finite number from 0"),
        ({"a": [1.0, 0.0]}, {"a": math.nan}, "finite number from 0"),
        ({"a": [1.0, 0.0]}, {"a": 0}, "all weights are 0"),
        ({"a": []}, {"a": 1}, "rule 'a': there are no values"),
        ({"a": [1.0, math.nan]}, {"a": 1}, "rule 'a': number 2"),
        ({"a": [1.0, 2.0]}, {"a": 1}, "rule 'a': values from 1.0 to 2.0"),
    ],
)
def test_what_is_no_policy_score_is_refused(values, weights, message):
    with pytest.raises(ValueError, match=message):
        policy_score.policy_score(rules(**{k: (v, None) for k, v in values.items()}), weights)


# -------------------------------------------------------------------------------------------------------------- errors
NAN = math.nan


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: clustered.rate([]), "no outcomes"),
        (lambda: clustered.rate([1, NAN]), "number 2 of the outcomes is nan"),
        (lambda: clustered.rate([1, 0.5]), "an outcome is 0 or 1"),
        (lambda: clustered.rate([1, 0], ["a"]), "1 clusters do not fit 2 samples"),
        (lambda: clustered.rate([1, 0], ["a", "a"]), "one cluster says nothing"),
        (lambda: clustered.rate([1, 0], ["a", NAN]), "a cluster is nan"),
        (lambda: clustered.rate([1, 0], confidence=1.0), "a confidence lies between"),
        (lambda: clustered.mean([]), "no values"),
        (lambda: clustered.mean([0.5]), "one cluster says nothing"),
        (lambda: clustered.mean([0.5, math.inf]), "number 2 of the values is inf"),
        (lambda: clustered.mean([0.5, 1.5]), "do not lie in the bounds"),
        (lambda: comparison.mcnemar([], []), "no first outcomes"),
        (lambda: comparison.mcnemar([1], [1, 0]), "are no pairs"),
        (lambda: comparison.mcnemar([1], [NAN]), "number 1 of the second outcomes is nan"),
        (lambda: comparison.mcnemar_counts(-1, 2), "a whole number from 0"),
        (lambda: comparison.paired_difference([1, 0], [1]), "are no pairs"),
        (lambda: comparison.paired_difference([1, 0], [1, 0], ["a", "a"]), "one cluster says nothing"),
        (lambda: comparison.paired_difference([NAN, 0], [1, 0]), "number 1 of the first values is nan"),
        (lambda: comparison.paired_difference([3, 0], [1, 0]), "does not lie in the bounds"),
        (lambda: comparison.paired_difference([3, 2], [1, 0], bounds=None), "without bounds nothing"),
        (lambda: comparison.newcombe(3, 2, 1, 2), "not a share"),
        (lambda: comparison.tango(3, 2, 4, 1.96), "are not counts"),
        (lambda: posterior.interval(3, 2), "3 of 2 is not a share"),
        (lambda: posterior.interval(NAN, 2), "not a share"),
        (lambda: posterior.interval(1, 2, prior=(0, 1)), "a prior are positive"),
        (lambda: posterior.probability_above(1, 2, NAN), "a limit lies between"),
        (lambda: posterior.shrink([], []), "0 groups do not show"),
        (lambda: posterior.shrink([1, 1], [2]), "2 counts do not fit 1"),
        (lambda: posterior.shrink([0, 0, 0], [5, 5, 5]), "no prior is likeliest"),
        (lambda: bounds.bounded_rate([]), "no outcomes"),
        (lambda: bounds.bounded_rate([1.0, NAN]), "number 2 of the outcomes is nan"),
        (lambda: bounds.bounded_rate([1.0, None], ["a", "a"]), "one cluster says nothing"),
        (lambda: bounds.bounded_rate([1.0], most_unscored=2), "is a share"),
    ],
)
def test_unusable_input_gives_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
