"""How many samples a limit takes: published sizes, exact power, clusters, and judges that err."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bylaw.runtime.audit import planning, statistics


@pytest.mark.parametrize(("limit", "size"), [(0.05, 59), (0.01, 299), (0.1, 29), (0.5, 5), (0.001, 2995)])
def test_sizes_without_any_failure(limit, size):
    assert planning.zero_failure_size(limit) == size
    assert statistics.exact_upper(0, size) <= limit < statistics.exact_upper(0, size - 1)


@pytest.mark.parametrize(
    ("total", "bound"), [(20, 0.139108), (59, 0.049508), (100, 0.029513), (299, 0.009969), (300, 0.009936)]
)
def test_the_bound_without_any_failure(total, bound):
    assert statistics.exact_upper(0, total) == pytest.approx(bound, abs=5e-7)
    assert planning.allowed_failures(total, bound + 1e-6) == 0
    assert planning.allowed_failures(total, bound - 1e-6) == -1


@given(st.integers(1, 2000), st.floats(0.001, 0.6), st.sampled_from([0.8, 0.95, 0.99]))
def test_allowed_failures_are_those_whose_bound_is_at_most_the_limit(total, limit, confidence):
    allowed = planning.allowed_failures(total, limit, confidence)
    if allowed >= 0:
        assert stats.beta.ppf(confidence, allowed + 1, total - allowed) <= limit + 1e-9
    if allowed + 1 < total:
        assert stats.beta.ppf(confidence, allowed + 2, total - allowed - 1) >= limit - 1e-9


@settings(max_examples=25)
@given(st.floats(0.03, 0.5), st.floats(0, 0.75), st.sampled_from([0.9, 0.95]), st.sampled_from([0.5, 0.8, 0.95]))
def test_a_plan_is_the_least_size_with_the_power(limit, part, confidence, power):
    """Against the exact power of every size, by scipy."""
    check_plan(limit, limit * part, confidence, power)


# the power of a size depends on how near the exact bound of its violations comes to the limit: teeth are not regular
@pytest.mark.parametrize(
    ("limit", "rate", "power"),
    [(0.478, 0.355, 0.62), (0.35, 0.273, 0.72), (0.495, 0.393, 0.91), (0.5040144131869834, 0.4806383838832415, 0.95)],
)
def test_a_plan_is_the_least_size_where_teeth_are_irregular(limit, rate, power):
    check_plan(limit, rate, 0.95, power)


def check_plan(limit: float, rate: float, confidence: float, power: float) -> None:
    plan = planning.certify(limit, rate, confidence=confidence, power=power)
    sizes = np.arange(1, plan.steady + 1500)
    # the most failures with P(X ≤ k) ≤ 1 − confidence at the limit
    allowed = stats.binom.ppf(1 - confidence, sizes, limit)
    allowed = np.where(stats.binom.cdf(allowed, sizes, limit) <= 1 - confidence, allowed, allowed - 1)
    reached = stats.binom.cdf(allowed, sizes, rate)
    margin = np.abs(reached - power)
    if margin.min() <= 1e-9:
        return  # rounding decides
    enough = reached >= power
    assert plan.independent == sizes[enough][0]
    assert plan.steady == (sizes[~enough][-1] + 1 if not enough.all() else 1)
    assert plan.power == pytest.approx(reached[plan.independent - 1], abs=1e-9)
    assert plan.allowed == allowed[plan.independent - 1]


def test_clusters_and_rules_and_judges_take_more_samples():
    plain = planning.certify(0.05, 0.01)
    assert (plain.samples, plain.clusters, plain.design_effect) == (plain.independent, plain.independent, 1)
    grouped = planning.certify(0.05, 0.01, cluster_size=5, correlation=0.3)
    assert grouped.design_effect == pytest.approx(2.2)
    assert grouped.samples == 5 * grouped.clusters >= 2.2 * plain.independent > grouped.samples - 5
    many = planning.certify(0.05, 0.01, rules=20)
    assert many.confidence == pytest.approx(0.9975)
    assert many.independent > plain.independent
    judged = planning.certify(0.05, 0.01, sensitivity=0.85, specificity=0.95)
    assert (judged.limit, judged.rate) == pytest.approx((0.85 * 0.05 + 0.05 * 0.95, 0.85 * 0.01 + 0.05 * 0.99))
    assert judged.independent > 3 * plain.independent
    assert planning.certify(0.05, 0.01, sensitivity=1, specificity=1) == plain


# about one run in 10,000 fails by chance with another seed if the power is 77 %; it is about 80
def test_the_plan_for_a_judge_has_its_power():
    """Draws of judged samples and labels, corrected and bounded as planned."""
    limit, rate, se, sp, labels = 0.15, 0.08, 0.85, 0.93, 1500
    plan = planning.certify_judged(
        limit, rate, sensitivity=se, specificity=sp, labels_violating=labels, labels_keeping=labels
    )
    generator, draws = np.random.default_rng(3), 4000

    def certified(theta: float) -> float:
        q = generator.binomial(plan.samples, se * theta + (1 - sp) * (1 - theta), draws) / plan.samples
        found_se, found_sp = (generator.binomial(labels, share, draws) / labels for share in (se, sp))
        information = found_se + found_sp - 1
        estimate = (q + found_sp - 1) / information
        # the test of "rate = limit" at 95 %, with the variance under it
        at = found_se * limit + (1 - found_sp) * (1 - limit)
        variance = at * (1 - at) / plan.samples + limit**2 * found_se * (1 - found_se) / labels
        variance = (variance + (1 - limit) ** 2 * found_sp * (1 - found_sp) / labels) / information**2
        return float((estimate + 1.644854 * np.sqrt(variance) <= limit).mean())

    assert certified(rate) == pytest.approx(0.80, abs=0.03)
    assert certified(limit) <= 0.065
    assert 0 < plan.label_share < 1


def test_labels_that_are_too_few_are_said_with_the_factor():
    ask = {"sensitivity": 0.9, "specificity": 0.95}
    with pytest.raises(planning.OutOfReach, match=r"label at least (\d+\.\d) times as many") as caught:
        planning.certify_judged(0.1, 0.05, labels_violating=100, labels_keeping=100, **ask)
    factor = float(str(caught.value).split("label at least ")[1].split()[0])
    more = math.ceil(100 * factor * 1.1)
    assert planning.certify_judged(0.1, 0.05, labels_violating=more, labels_keeping=more, **ask).samples > 100


def test_more_labels_take_fewer_samples():
    ask = {"sensitivity": 0.9, "specificity": 0.95}
    plans = [planning.certify_judged(0.1, 0.05, labels_violating=m, labels_keeping=m, **ask) for m in (300, 1000, 9999)]
    sizes = [plan.samples for plan in plans]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]


def judged(limit: float, rate: float, **labels: int) -> planning.JudgedPlan:
    return planning.certify_judged(limit, rate, sensitivity=0.9, specificity=0.95, **labels)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: planning.zero_failure_size(0), "a limit lies between"),
        (lambda: planning.zero_failure_size(math.nan), "a limit lies between"),
        (lambda: planning.zero_failure_size(0.1, 1), "a confidence lies between"),
        (lambda: planning.allowed_failures(0, 0.1), "at least 1"),
        (lambda: planning.certify(0.05, 0.05), "is not below the limit"),
        (lambda: planning.certify(0.05, math.nan), "is not below the limit"),
        (lambda: planning.certify(0.05, 0.01, power=1), "a power lies between"),
        (lambda: planning.certify(0.05, 0.01, rules=0), "a number of rules"),
        (lambda: planning.certify(0.05, 0.01, cluster_size=0), "a cluster has"),
        (lambda: planning.certify(0.05, 0.01, cluster_size=2, correlation=math.nan), "a correlation inside"),
        (lambda: planning.certify(0.05, 0.01, sensitivity=1.2), "a sensitivity lies between"),
        (lambda: planning.certify(0.05, 0.01, sensitivity=0.5, specificity=0.6), "the judge says too little"),
        (lambda: planning.certify(0.05, 0.0499999), "independent samples"),
        (lambda: judged(0.1, 0.05, labels_violating=0, labels_keeping=9), "human labels of either kind"),
        (lambda: judged(0.1, 0.05, labels_violating=1, labels_keeping=1), "the judge says too little"),
    ],
)
def test_unusable_questions_give_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
