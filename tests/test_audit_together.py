"""All rules together: exact tests adjusted for their number, a declared score, two audits compared, in every report."""

from __future__ import annotations

import io
import itertools
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy import stats

from bylaw.compiler.program import RewardTerm
from bylaw.runtime.audit import clustered, comparison, multiplicity, statistics
from bylaw.runtime.audit.against import AgainstError, compare_against
from bylaw.runtime.audit.baseline import read_baseline
from bylaw.runtime.audit.bounds import bounded_rate
from bylaw.runtime.audit.counts import ClusterCounts
from bylaw.runtime.audit.declared_score import WeightError, Weights, declared_score, weights_of
from bylaw.runtime.audit.policy_score import RuleValues, policy_score
from bylaw.runtime.audit.rules_together import GATE_LEVEL, rule_tests
from bylaw.runtime.audit.statistics import exact_lower, exact_upper, wilson
from bylaw.runtime.audit.summary import term_audit
from bylaw.runtime.cli import audit_steps, main
from bylaw.runtime.record import AuditRecord, read_back
from bylaw.runtime.report.audit_against import shown
from bylaw.runtime.report.console import render_console
from bylaw.runtime.report.markdown import render_markdown
from bylaw.runtime.statistics_record import RuleDifference, RuleTest
from bylaw.spec.expression import Count, Extent, Holds, MessageText, Phrase
from bylaw.spec.source import Source

HOLDS = Holds("contain", MessageText("response"), (Phrase("x"),))
LIMIT = RewardTerm("limit", "limit", "budget", "law", Extent(0, 1), holds=HOLDS, sense="at most", bound=0.1)
HARD = RewardTerm("hard", "hard", "hard", "law", Extent(0, 1), holds=HOLDS)
SOFT = replace(HARD, id="soft", kind="soft", weight=2.0)
MEAN = replace(LIMIT, id="mean", holds=None, value=Count("words", MessageText("response")), bound=3.0)

OUTCOMES = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=40)


@dataclass
class Columns:
    """Verdicts without texts: `rows` are values [terms, n], nan unscored, None not applicable."""

    terms: tuple[RewardTerm, ...]
    rows: Sequence[Sequence[float | None]]
    asked: Sequence[int] | None = None
    keys: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        self.count = len(self.rows[0])
        given = list(range(self.count)) if self.asked is None else list(self.asked)
        order = {name: place for place, name in enumerate(dict.fromkeys(given))}
        self.prompts = np.array([order[name] for name in given], np.int64)
        self.prompt_count = len(order)
        self.is_clustered = self.prompt_count < self.count
        self.keys = self.keys or tuple(b"%016d" % (name + 1) for name in order)

    def values(self, index: int) -> Any:
        return np.array([math.nan if value is None else value for value in self.rows[index]], np.float64)

    def codes(self, index: int) -> Any:
        def code(value: float | None) -> int:
            return 2 if value is None else 3 if math.isnan(value) else int(value != 0)

        return np.array([code(value) for value in self.rows[index]], np.uint8)


def one(term: RewardTerm, values: Sequence[float | None], asked: Sequence[int] | None = None) -> RuleTest:
    [found] = rule_tests(Columns((term,), [values], asked)).tests  # type: ignore[arg-type]
    return found


# -------------------------------------------------------------------------------------------------------------- counts
@given(OUTCOMES)
def test_counts_by_cluster_give_the_errors_of_the_samples(samples: list[tuple[bool, int]]) -> None:
    outcomes, clusters = np.array([s[0] for s in samples]), np.array([s[1] for s in samples])
    counts = ClusterCounts.of_columns(outcomes, clusters)
    assert counts == ClusterCounts.of_outcomes(outcomes.astype(float).tolist(), clusters.tolist())
    assert (counts.events, counts.samples, counts.clusters) == (outcomes.sum(), len(outcomes), len(set(clusters)))
    away = [(outcomes[clusters == name] - outcomes.mean()).sum() for name in set(clusters.tolist())]
    assert counts.squares == pytest.approx(sum(part**2 for part in away), abs=1e-9)
    if counts.clusters > 1:
        n = len(outcomes)
        weighed = [p**2 / (1 - (clusters == c).sum() / n) for c, p in zip(set(clusters.tolist()), away, strict=True)]
        assert counts.corrected_squares == pytest.approx(sum(weighed), abs=1e-9)
    interval = clustered.interval_of(counts)
    assert 0 <= interval.low <= counts.share <= interval.high <= 1
    assert interval.low < interval.high


def test_bounds_of_clusters_are_exact_at_zero_and_wider_than_those_of_samples() -> None:
    """Twenty prompts without an event are worth twenty answers, however many each has."""
    assert clustered.bound_of(ClusterCounts.of({(0, 5): 20}), True) == pytest.approx(0.139108, abs=5e-7)
    assert clustered.bound_of(ClusterCounts.independent(0, 299), True) == pytest.approx(0.009969, abs=5e-7)
    some = ClusterCounts.of({(3, 5): 4, (1, 5): 9, (0, 5): 20})
    edges = clustered.bound_of(some, True), clustered.bound_of(some, False)
    worth = clustered.effective_counts(some)
    assert multiplicity.below(*worth, edges[0]) == pytest.approx(multiplicity.above(*worth, edges[1])) == 0.05
    alike, mixed = ClusterCounts.of({(5, 5): 4, (0, 5): 16}), ClusterCounts.independent(20, 100)
    assert clustered.bound_of(alike, True) > clustered.bound_of(mixed, True) == exact_upper(20, 100)
    assert clustered.bound_of(alike, False) < clustered.bound_of(mixed, False) == exact_lower(20, 100)
    assert clustered.interval_of(ClusterCounts.of({(2, 4): 1})) == clustered.Interval(0.0, 1.0)
    assert clustered.interval_of(ClusterCounts.independent(1, 1)) == wilson(1, 1)
    with pytest.raises(ValueError, match="no more events than samples"):
        ClusterCounts.of({(3, 2): 1})


def test_clustered_answers_are_worth_what_the_formula_says() -> None:
    rows = {(3, 5): 4, (1, 5): 9, (0, 5): 20}
    clusters, samples, events = 33, 165, 21
    share = events / samples
    squares = sum(m * (e - s * share) ** 2 for (e, s), m in rows.items()) * clusters / (clusters - 1)
    raw = squares / (samples * share * (1 - share))
    design = (events / raw * raw + 0.5 * 5) / (events / raw + 0.5)
    allowance = (stats.norm.ppf(0.975) / stats.t.ppf(0.975, clusters - 1)) ** 2
    worth = clustered.effective_counts(ClusterCounts.of(rows))
    assert worth == pytest.approx((share * samples / design * allowance, samples / design * allowance))
    # several answers to one prompt are worth one
    assert clustered.effective_counts(ClusterCounts.of({(2, 4): 1})) == (0.5, 1.0)
    # five prompts do not show how much prompts differ, although these are alike
    few = ClusterCounts.of({(2, 5): 4, (3, 5): 1})
    assert clustered.interval_of(few) == clustered.score_interval(
        11 / 25, 25 / clustered.rate_of(few).design_effect, statistics.t_quantile(0.975, 4)
    )


@pytest.mark.parametrize(
    ("rate", "prompts", "each", "correlation"),
    [(0.05, 60, 5, 0.3), (0.2, 20, 5, 0.5), (0.02, 200, 3, 0.2), (0.1, 40, 8, 0.1)],
)
def test_a_one_sided_bound_of_clusters_holds_as_often_as_it_says(
    rate: float, prompts: int, each: int, correlation: float
) -> None:
    """By simulation; a bound that holds in 93.5 % of cases fails this test in fewer than one of 100,000 runs."""
    size, draws = (1 - correlation) / correlation, 1000
    generator = np.random.default_rng(int(1000 * rate) + prompts)
    levels = generator.beta(rate * size, (1 - rate) * size, (draws, prompts))
    events = generator.binomial(each, levels)
    above = below = naive = 0
    for found in events:
        seen = zip(*np.unique(found, return_counts=True), strict=True)
        worth = clustered.effective_counts(ClusterCounts.of({(int(e), each): int(m) for e, m in seen}))
        # the bound is beyond the rate just where the exact test at the rate does not reject
        above += multiplicity.below(*worth, rate) >= 0.05
        below += multiplicity.above(*worth, rate) >= 0.05
        naive += multiplicity.below(int(found.sum()), prompts * each, rate) >= 0.05
    assert stats.binom.cdf(above, draws, 0.935) > 1e-5, above / draws
    assert stats.binom.cdf(below, draws, 0.935) > 1e-5, below / draws
    assert naive < above


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, math.nan, None]), st.integers(0, 4)), min_size=1, max_size=30))
def test_what_is_unscored_bounds_the_rate(samples: list[tuple[float | None, int]]) -> None:
    """The summary of a clause against the bounds of the outcomes one by one."""
    columns = Columns((LIMIT,), [[value for value, _ in samples]], [cluster for _, cluster in samples])
    found = term_audit(
        LIMIT, Source("rules", "limit"), columns.codes(0), columns.values(0), columns.prompts, (), Counter(), ()
    )
    seen = [(value, cluster) for value, cluster in samples if value is not None]
    assert found.not_applicable == len(samples) - len(seen)
    if len({cluster for _, cluster in seen}) < 2:
        return
    outcomes = [None if math.isnan(value) else value for value, _ in seen]
    expected = bounded_rate(outcomes, [cluster for _, cluster in seen])
    assert (found.rate, found.best, found.worst) == pytest.approx((expected.rate, expected.best, expected.worst))
    assert found.is_scored_enough == expected.is_scored_enough
    if found.unscored:
        assert found.interval_of_all == expected.interval_of_all
    if found.applicable > 1 and found.interval != clustered.Interval(0.0, 1.0):
        assert found.interval == expected.interval


# --------------------------------------------------------------------------------------------------------------- tests
@pytest.mark.parametrize("sense", ["at most", "at least", "exactly"])
@pytest.mark.parametrize("limit", [0.1, 0.35, 0.5])
def test_a_p_value_is_small_no_more_often_than_it_says(sense: str, limit: float) -> None:
    """Over every outcome of nine answers at the limit itself, exactly."""
    term = replace(LIMIT, sense=sense, bound=limit)
    law = stats.binom(9, limit).pmf(np.arange(10))
    p_values = [one(term, [1.0] * k + [0.0] * (9 - k)).p_value or 0.0 for k in range(10)]
    for level in {*p_values, 0.01, 0.05, 0.1}:
        assert sum(chance for chance, p in zip(law, p_values, strict=True) if p <= level) <= level + 1e-12
    assert min(p_values) < (0.5 if (sense, limit) == ("at least", 0.1) else 0.05)


@pytest.mark.parametrize("sense", ["at most", "at least", "exactly"])
def test_a_discovery_holds_whatever_the_unscored_answers_are(sense: str) -> None:
    term = replace(LIMIT, sense=sense, bound=0.4)
    for known in ([1.0] * 6, [1.0, 0.0, 1.0, 0.0], [0.0] * 7, [1.0] * 9 + [0.0]):
        found = one(term, [*known, math.nan, math.nan, None]).p_value
        filled = [one(term, [*known, *rest]).p_value for rest in itertools.product((0.0, 1.0), repeat=2)]
        assert found is not None
        assert found >= max(p for p in filled if p is not None) - 1e-12


def test_one_violation_proves_that_a_hard_rule_is_broken() -> None:
    broken, kept = one(HARD, [-1.0, *[0.0] * 500]), one(HARD, [0.0] * 500)
    assert (broken.p_value, broken.is_found, broken.is_shown, broken.is_certain) == (0.0, True, True, True)
    assert (kept.p_value, kept.is_found, kept.is_certain) == (1.0, False, True)


def test_hard_rules_do_not_change_what_is_said_of_limits() -> None:
    limits = [replace(LIMIT, id=f"limit {n}") for n in range(4)]
    rows = [[1.0] * k + [0.0] * (40 - k) for k in (11, 9, 4, 0)]
    alone = rule_tests(Columns(tuple(limits), rows))  # type: ignore[arg-type]
    hards = [replace(HARD, id=f"hard {n}") for n in range(6)]
    both = rule_tests(Columns((*hards, *limits, SOFT), [*[[-1.0] + [0.0] * 39] * 6, *rows, rows[0]]))  # type: ignore[arg-type]
    assert both.tests[6:] == alone.tests
    assert both.together == alone.together == 4
    raw = [multiplicity.above(k, 40, 0.1) for k in (11, 9, 4, 0)]
    assert [test.p_value for test in alone.tests] == pytest.approx(raw)
    assert [test.adjusted for test in alone.tests] == pytest.approx(stats.false_discovery_control(raw))
    assert [test.is_shown for test in alone.tests] == [test.holm <= GATE_LEVEL for test in alone.tests]  # type: ignore[operator]
    assert [test.is_found for test in alone.tests] == [True, True, False, False]


def test_the_posterior_is_that_of_jeffreys_and_turns_with_the_limit() -> None:
    values = [1.0] * 5 + [0.0] * 15
    above = stats.beta(5.5, 15.5).sf(0.1)
    assert one(LIMIT, values).posterior == pytest.approx(above)
    assert one(replace(LIMIT, sense="at least"), values).posterior == pytest.approx(1 - above)
    assert one(replace(LIMIT, sense="exactly"), values).posterior is None


def test_answers_to_one_prompt_are_worth_less_and_one_bad_prompt_counts_where_each_has_to_keep() -> None:
    values, asked = [1.0] * 10 + [0.0] * 40, [n // 5 for n in range(50)]
    assert one(LIMIT, values, asked).p_value > 10 * one(LIMIT, values).p_value  # type: ignore[operator]
    bad = [1.0] * 5 + [0.0] * 95
    asked = [n // 5 for n in range(100)]
    together, each = one(LIMIT, bad, asked), one(replace(LIMIT, each_prompt=True), bad, asked)
    assert together.p_value > 0.5  # type: ignore[operator]
    assert each.p_value == pytest.approx(2 * 20 * 0.1**5)


def test_an_average_has_students_test_and_none_without_spread() -> None:
    values = [2.0, 4.0, 5.0, 7.0, 3.0, 6.0]
    assert one(MEAN, values).p_value == pytest.approx(stats.ttest_1samp(values, 3, alternative="greater").pvalue)
    low = replace(MEAN, sense="at least")
    assert one(low, values).p_value == pytest.approx(stats.ttest_1samp(values, 3, alternative="less").pvalue)
    both = replace(MEAN, sense="exactly")
    assert one(both, values).p_value == pytest.approx(stats.ttest_1samp(values, 3).pvalue)
    assert (one(MEAN, [4.0] * 6).p_value, one(MEAN, [4.0] * 6).why_not[:30]) == (None, "the answers show no spread to ")
    # three times 0.1 is not 0.3 for a computer: what rounding leaves is no spread
    assert one(replace(MEAN, bound=0.2), [0.1] * 3).p_value is None
    assert one(replace(MEAN, bound=0.5), [0.1, 0.2, 0.3] * 4, [n // 3 for n in range(12)]).p_value is None
    assert one(MEAN, [*values, math.nan]).why_not == "too many answers could not be scored"
    assert one(LIMIT, [None, None]).why_not == "it never applied"
    assert one(LIMIT, [math.nan]).why_not == "no answer could be scored"


@pytest.mark.parametrize("method", ["benjamini-hochberg", "benjamini-yekutieli", "holm"])
def test_limits_are_adjusted_for_each_other_by_both_methods(method: multiplicity.Method) -> None:
    events = [19, 17, 16, 15, 12, 3]
    terms = tuple(replace(LIMIT, id=f"limit_{number}") for number in range(len(events)))
    found = rule_tests(Columns(terms, [[1.0] * k + [0.0] * (100 - k) for k in events]), method)  # type: ignore[arg-type]
    p_values = [float(stats.binom.sf(k - 1, 100, 0.1)) for k in events]
    assert [test.p_value for test in found.tests] == pytest.approx(p_values)
    holm = np.minimum(1, np.maximum.accumulate([p * (len(events) - place) for place, p in enumerate(p_values)]))
    listed = {"holm": holm, "benjamini-hochberg": stats.false_discovery_control(p_values)}
    listed["benjamini-yekutieli"] = stats.false_discovery_control(p_values, method="by")
    assert [test.holm for test in found.tests] == pytest.approx(holm.tolist())
    assert [test.adjusted for test in found.tests] == pytest.approx(listed[method].tolist())
    assert [test.is_shown for test in found.tests] == (holm <= 0.05).tolist()
    assert [test.is_found for test in found.tests] == (listed[method] <= 0.1).tolist()
    assert [test.is_shown for test in found.tests].count(True) == 1


def test_false_discoveries_over_audits_of_many_limits() -> None:
    """Of 300 policies of twelve limits, nine just kept: at most 10 % false among those found; with Holm in 5 % of all.

    A false alarm of this test has a chance below 1e-4: by Hoeffding's inequality on 300 shares.
    """
    rates = [0.1] * 9 + [0.3] * 3
    terms = tuple(replace(LIMIT, id=f"limit {n}") for n in range(12))
    generator = np.random.default_rng(7)
    false, any_false, found = [], 0, 0
    for _ in range(300):
        rows = [(generator.random(80) < rate).astype(float).tolist() for rate in rates]
        tests = rule_tests(Columns(terms, rows)).tests  # type: ignore[arg-type]
        wrong, right = (sum(test.is_found for test in part) for part in (tests[:9], tests[9:]))
        false.append(wrong / max(1, wrong + right))
        any_false += any(test.is_shown for test in tests[:9])
        found += right
    slack = math.sqrt(math.log(1e4) / 2 / 300)
    assert np.mean(false) <= 0.10 + slack
    assert stats.binom.sf(any_false - 1, 300, 0.05) > 1e-4
    assert found > 600


# --------------------------------------------------------------------------------------------------------------- score
SAMPLES = st.lists(
    st.tuples(st.integers(0, 4), *[st.sampled_from([0.0, 1.0, None, math.nan])] * 3), min_size=8, max_size=30
)


@given(SAMPLES, st.tuples(*[st.sampled_from([0.5, 1.0, 3.0])] * 3))
def test_the_score_is_that_of_the_formula(samples: Any, weights: tuple[float, float, float]) -> None:
    """The one pass over columns against the double sum over pairs of rules."""
    asked = [sample[0] for sample in samples]
    rows = [[sample[index + 1] for sample in samples] for index in range(3)]
    terms = (HARD, SOFT, LIMIT)
    rules, kept_weights = {}, {}
    for term, row, weight in zip(terms, rows, weights, strict=True):
        known = [(1.0 - v, c) for v, c in zip(row, asked, strict=True) if v is not None and not math.isnan(v)]
        if len({c for _, c in known}) > 1:
            rules[term.id] = RuleValues(tuple(v for v, _ in known), tuple(c for _, c in known))
            kept_weights[term.id] = weight
    declared = weights_of(",".join(f"{t.id}={w}" for t, w in zip(terms, weights, strict=True)), terms)
    found = declared_score(Columns(terms, rows, asked), declared)  # type: ignore[arg-type]
    if not rules:
        assert found == "no rule with a weight was measured, so that there is no score"
        return
    expected = policy_score(rules, kept_weights)
    assert not isinstance(found, str)
    assert found.score == pytest.approx(expected.score, abs=1e-12)
    assert found.standard_error == pytest.approx(expected.standard_error, abs=1e-9)
    assert found.interval.low == pytest.approx(expected.interval.low, abs=1e-9)
    assert found.interval.high == pytest.approx(expected.interval.high, abs=1e-9)
    assert {name for name, _ in found.left_out} == {term.id for term in terms} - set(rules)
    assert found.worst_kept == min(estimate.mean for _, estimate in expected.rules)
    assert found.least - 1e-12 <= found.score <= found.most + 1e-12
    assert dict(found.declared) == dict(zip(("hard", "soft", "limit"), weights, strict=True))


def test_the_score_counts_what_ought_to_happen_and_what_ought_not() -> None:
    values = [1.0] * 8 + [0.0] * 2
    for term, kept in ((LIMIT, 0.2), (replace(LIMIT, sense="at least"), 0.8), (SOFT, 0.2)):
        found = declared_score(Columns((term,), [values]), Weights(((term.id, 3.0),), "by hand"))  # type: ignore[arg-type]
        assert not isinstance(found, str)
        assert (found.score, found.worst_kept) == (pytest.approx(kept), pytest.approx(kept))
    found = declared_score(Columns((SOFT,), [[*values, *[math.nan] * 6, None]]), Weights((("soft", 1.0),), "by hand"))  # type: ignore[arg-type]
    assert not isinstance(found, str)
    assert (found.least, found.score, found.most) == (pytest.approx(2 / 16), pytest.approx(0.2), pytest.approx(8 / 16))
    # two rules that were never broken: on other prompts their errors are independent, on the same ones they add up
    weights = Weights((("hard", 1.0), ("soft", 1.0)), "by hand")
    reach = 1 - wilson(6, 6).low
    for rows, length in (([[0.0] * 6] * 2, reach), ([[0.0] * 6 + [None] * 6, [None] * 6 + [0.0] * 6], reach / 2**0.5)):
        found = declared_score(Columns((HARD, SOFT), rows), weights)  # type: ignore[arg-type]
        assert not isinstance(found, str)
        assert (found.interval.low, found.interval.high) == (pytest.approx(1 - length), 1.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hart=1", "there is no rule `hart` to weigh; did you mean `hard`?"),
        ("hard=1,soft", "`soft` has no `=`"),
        ("hard=much", "the weight of `hard` is no number: `much`"),
        ("hard=-1", "the weight of `hard` is -1.0"),
        ("hard=nan", "the weight of `hard` is nan"),
        ("hard=1,hard=2", "`hard` has two weights"),
        ("hard=0", "all weights are 0"),
        ("mean=1", "`mean` measures a quantity"),
        ("share=1", "`share` is a limit to exactly a share"),
        ("nowhere.json", "`nowhere.json` cannot be read: no such file or directory"),
    ],
)
def test_weights_that_cannot_be_used(text: str, words: str) -> None:
    terms = (HARD, SOFT, MEAN, replace(LIMIT, id="share", sense="exactly"))
    with pytest.raises(WeightError) as caught:
        weights_of(text, terms)
    assert words in str(caught.value)


def test_weights_are_declared_in_a_file_or_by_the_policy(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    path.write_text('{"soft": 1, "hard": 3}', encoding="utf-8")
    found = weights_of(str(path), (HARD, SOFT))
    assert found.by_rule == (("hard", 3.0), ("soft", 1.0))
    assert found.digest == weights_of("hard=3,soft=1", (HARD, SOFT)).digest
    assert found.digest != weights_of("hard=3,soft=2", (HARD, SOFT)).digest
    assert weights_of("own", (HARD, SOFT, LIMIT)).by_rule == (("soft", 2.0),)
    many = [replace(HARD, id=f"rule_{number}") for number in range(60)]
    listed = weights_of(",".join(f"{term.id}=1" for term in many), many)  # longer than a name of a file can be
    assert len(listed.by_rule) == 60
    with pytest.raises(WeightError, match="no rule of this policy has a weight of its own"):
        weights_of("own", (HARD,))
    for text, words in (("[1]", "are no object"), ("{", "are no JSON"), ('{"hard": true}', "a weight is a finite")):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(WeightError, match=words):
            weights_of(str(path), (HARD, SOFT))


# ------------------------------------------------------------------------------------------------------------- against
def against(here: Columns, there: Columns, **options: Any) -> tuple[RuleDifference, ...]:
    return compare_against(here, there, source="other.jsonl", clauses={}, **options).rules  # type: ignore[arg-type]


def test_one_answer_a_prompt_has_mcnemars_test() -> None:
    """The worked example: 3 prompts break here only, 12 there only."""
    here = Columns((HARD,), [[1.0] * 3 + [0.0] * 12 + [0.0] * 35])
    there = Columns((HARD,), [[0.0] * 3 + [1.0] * 12 + [0.0] * 35])
    [found] = against(here, there)
    assert (found.only_here, found.only_there, found.pairs) == (3, 12, 50)
    assert found.p_value == pytest.approx(0.035156, abs=5e-7)
    expected = comparison.paired_difference(here.rows[0], there.rows[0])  # type: ignore[arg-type]
    assert (found.difference, found.interval) == (pytest.approx(-0.18), expected.interval)
    assert (found.adjusted, found.is_found, found.worse) == (found.p_value, True, 1)


@given(st.lists(st.tuples(st.integers(0, 4), *[st.sampled_from([0.0, 1.0, None, math.nan])] * 2), max_size=24))
def test_pairs_are_answers_to_the_same_prompt_and_the_order_of_prompts_does_not_matter(samples: Any) -> None:
    """Shared prompts 100 to 102 beside those that only one side has: each answer is paired once or counted."""
    asked = [100, 101, 102, *(100 + sample[0] for sample in samples)]
    other = [100, 101, 102, *(100 + (sample[0] if sample[0] < 3 else sample[0] + 7) for sample in samples)]
    here = Columns((HARD,), [[0.0, 1.0, 1.0, *(sample[1] for sample in samples)]], asked)
    there = Columns((HARD,), [[1.0, 1.0, 0.0, *(sample[2] for sample in samples)]], other)
    for columns, given_to in ((here, asked), (there, other)):
        columns.keys = tuple(b"%016d" % name for name in dict.fromkeys(given_to))
    [found] = against(here, there)
    known = [
        {name: [v for v, a in zip(columns.rows[0], given_to, strict=True) if a == name and v is not None and v == v]
         for name in (100, 101, 102)}
        for columns, given_to in ((here, asked), (there, other))
    ]  # fmt: skip
    pairs = [list(zip(known[0][name], known[1][name], strict=False)) for name in (100, 101, 102)]
    flat = [pair for own in pairs for pair in own]
    assert found.pairs == found.here_count == len(flat)
    assert found.left_out_here == sum(map(len, known[0].values())) - len(flat)
    assert found.left_out_there == sum(map(len, known[1].values())) - len(flat)
    assert found.difference == pytest.approx(sum(a - b for a, b in flat) / len(flat))
    names = [name for name, own in zip((100, 101, 102), pairs, strict=True) for _ in own]
    expected = comparison.paired_difference([a for a, _ in flat], [b for _, b in flat], names)
    assert found.p_value == pytest.approx(expected.p_value)
    assert found.interval is not None
    assert found.interval.low == pytest.approx(expected.interval.low, abs=1e-9)


def test_independent_samples_have_newcombes_interval_and_its_p_value() -> None:
    """45 of 50 against 38 of 50; and an interval at 1 − p ends at 0."""
    here = Columns((HARD,), [[1.0] * 45 + [0.0] * 5])
    there = Columns((HARD,), [[1.0] * 38 + [0.0] * 12], keys=tuple(b"%016d" % (1000 + n) for n in range(50)))
    [found] = against(here, there, is_paired=False)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((-0.009397, 0.285551), abs=5e-7)
    assert found.p_value is not None
    edge = comparison.newcombe(45, 50, 38, 50, 1 - found.p_value).interval
    assert edge.low == pytest.approx(0, abs=1e-9)
    assert found.p_value > 0.05
    [same] = against(here, replace(there, rows=here.rows), is_paired=False)
    assert same.p_value == 1


def test_quantities_are_compared_by_their_means() -> None:
    first, second = [3.0, 5.0, 4.0, 8.0, 6.0], [2.0, 5.0, 3.0, 4.0, 6.0]
    [found] = against(Columns((MEAN,), [first]), Columns((MEAN,), [second]))
    assert found.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue)
    assert not found.is_share
    other = Columns((MEAN,), [second], keys=tuple(b"%016d" % (1000 + n) for n in range(5)))
    [apart] = against(Columns((MEAN,), [first]), other, is_paired=False)
    assert apart.p_value == pytest.approx(stats.ttest_ind(first, second, equal_var=False).pvalue)
    [still] = against(Columns((MEAN,), [first]), Columns((MEAN,), [[v - 1 for v in first]]))
    assert (still.difference, still.p_value) == (pytest.approx(1.0), None)
    assert "differ by the same" in still.why_not
    # the two answers to each prompt differ by as much in one direction as in the other
    asked = [n // 2 for n in range(8)]
    [even] = against(Columns((MEAN,), [[0.1, 0.4] * 4], asked), Columns((MEAN,), [[0.4, 0.1] * 4], asked))
    assert (even.difference, even.interval, even.p_value) == (pytest.approx(0.0), None, None)


def test_a_comparison_says_what_could_not_be_scored() -> None:
    one, two = Columns((LIMIT,), [[1.0, 0.0, math.nan, None]]), Columns((LIMIT,), [[0.0, 0.0, 1.0, None]])
    [note, _] = compare_against(one, two, source="other", clauses={}).notes  # type: ignore[arg-type]
    assert note.startswith("Of 4 answers here up to 1 could not be scored (by limit): they are left out")


def test_which_direction_is_worse_hangs_on_the_clause() -> None:
    more, less = [1.0] * 30 + [0.0] * 10, [0.0] * 30 + [1.0] * 10
    wish = replace(MEAN, id="wish", kind="graded", bound=None, weight=0.1)
    terms = (
        LIMIT,
        replace(LIMIT, sense="at least"),
        replace(LIMIT, sense="exactly"),
        SOFT,
        wish,
        replace(wish, weight=-1),
    )
    for first, second, words in (
        (more, less, ["worse here", "better here", "different", "worse here", "better here", "worse here"]),
        (less, more, ["better here", "worse here", "different", "better here", "worse here", "better here"]),
    ):
        found = against(Columns(terms, [first] * len(terms)), Columns(terms, [second] * len(terms)))
        assert [shown(rule) for rule in found] == words
    [alone] = against(Columns((LIMIT,), [[1.0, 1.0]], [0, 0]), Columns((LIMIT,), [[0.0, 1.0]], [0, 0]))
    assert (alone.pairs, alone.p_value) == (2, None)
    assert alone.why_not.startswith("all pairs answer one prompt")


def test_many_differences_are_those_of_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where too many pairs differ for the exact law, prompts are compared, and all figures are about these."""
    monkeypatch.setattr(comparison, "MOST_FLIPS", 2)
    asked = [0, 0, 0, 1, 2, 3]
    [found] = against(
        Columns((LIMIT,), [[1.0, 1.0, 1.0, 0.0, 1.0, 0.0]], asked),
        Columns((LIMIT,), [[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]], asked),
    )
    gaps = [2 / 3, 0.0, 1.0, 0.0]
    assert (found.here, found.there) == (pytest.approx(2 / 4), pytest.approx(1 / 12))
    assert found.difference == pytest.approx(sum(gaps) / 4)
    assert found.p_value == pytest.approx(stats.ttest_1samp(gaps, 0).pvalue)


def test_audits_that_cannot_be_compared_are_refused() -> None:
    here = Columns((HARD,), [[1.0, 0.0]])
    apart = Columns((HARD,), [[1.0, 0.0]], keys=(b"a" * 16, b"b" * 16))
    for there, options, words in (
        (apart, {}, "no prompt is both here and in `other.jsonl`"),
        (here, {"is_paired": False}, "2 prompts are both here and in `other.jsonl`"),
        (Columns((SOFT,), [[1.0, 0.0]]), {}, "of other rules"),
    ):
        with pytest.raises(AgainstError, match=words):
            against(here, there, **options)  # type: ignore[arg-type]
    unasked = tuple(bytes(8) + bytes([0] * 7 + [n]) for n in range(2))
    with pytest.raises(AgainstError, match="no prompt is both"):
        against(Columns((HARD,), [[1.0, 0.0]], keys=unasked), Columns((HARD,), [[1.0, 0.0]], keys=unasked))


# -------------------------------------------------------------------------------------------------------- command line
POLICY = """policy harbour version "1.0" edition 1
rule polite "Stay polite" at user { must not contain "stupid" }
rule quiet at user { should not contain "!!" weight 2 }
rule brief at user { limit response contains "moreover" to at most 10% of responses }
rule greet at user { limit response contains "hello" to at least 60% of responses }
rule gate at user { when meta.gate must not contain "closed" }
rule short at user { prefer lower number of words in response weight 0.01 }
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.bylaw").write_text(POLICY, encoding="utf-8")
    for name, often, seed in (("here", 0.35, 1), ("there", 0.05, 2)):
        generator = np.random.default_rng(seed)
        lines = []
        for number in range(80):
            said = ["hello"] * (generator.random() < 0.8) + ["moreover"] * (generator.random() < often)
            said += ["now!!"] * (generator.random() < 0.2) + ["fine"]
            meta = {
                "gate": True,
                "first": "bad" if "now!!" in said else "good",
                "second": "bad" if number % 9 else "good",
            }
            lines.append({"prompt": f"question {number}", "response": " ".join(said), "meta": meta})
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["audit", "rules.bylaw", "here.jsonl", *arguments])


def test_an_audit_says_all_of_it_in_every_format(desk: Path) -> None:
    done = run("--against", "there.jsonl", "--weights", "polite=3,quiet=1", "--format", "json")
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    tests = {test["term"]: test for test in data["tests"]["tests"]}
    assert set(tests) == {"polite", "brief", "greet", "gate"}
    assert tests["brief"]["is_shown"]
    assert not tests["greet"]["is_found"]
    assert (data["score"]["worst"], data["score"]["declared"]) == ("quiet", [["polite", 3.0], ["quiet", 1.0]])
    assert (data["against"]["common"], data["against"]["is_paired"]) == (80, True)
    assert [rule["term"] for rule in data["against"]["rules"] if rule["is_found"]] == ["brief"]
    assert (
        run(
            "--against", "there.jsonl", "--weights", "polite=3,quiet=1", "--out", "report", "--report", "html,md"
        ).exit_code
        == 0
    )
    page = (desk / "report" / "audit.html").read_text(encoding="utf-8")
    markdown = (desk / "report" / "audit.md").read_text(encoding="utf-8")
    shown = run("--against", "there.jsonl", "--weights", "polite=3,quiet=1").output
    for words in (
        "Compared with there.jsonl on 80 prompts that both answered, 1 rule is worse here (brief).",
        "Of 2 limits, brief is missed by more than chance explains.",
        "look at the rules one by one, as a mean hides the worst.",
    ):
        assert words in page
        assert words in markdown.replace("\\", "")
        assert words in " ".join(shown.split())
    assert "at most 10%: missed, by more than chance explains." in page
    assert "chance? adjusted p (BH; Holm)" in markdown
    summary = json.loads((desk / "report" / "summary.json").read_text(encoding="utf-8"))
    assert (summary["tests"], summary["score"], summary["against"]) == (data["tests"], data["score"], data["against"])
    assert read_baseline(desk / "report" / "summary.json").transcripts == 80


def test_what_is_missing_of_the_other_transcripts_is_not_hidden(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (desk / "there.jsonl").open("a", encoding="utf-8") as file:
        file.write("{\n")
    found = run("--against", "there.jsonl", "--format", "json")
    assert found.exit_code == 3
    assert [(each["source"], each["line"]) for each in json.loads(found.stdout)["problems"]] == [("there.jsonl", 81)]
    whole = audit_steps.measure_or_exit

    def interrupted(request: audit_steps.Request) -> audit_steps.Measured:
        measured = whole(request)
        return replace(measured, record=replace(measured.record, complete=False))

    monkeypatch.setattr(audit_steps, "measure_or_exit", interrupted)  # the verb itself has the other one
    found = run("--against", "there.jsonl")
    assert found.exit_code == 130
    assert "interrupted: every figure covers what was done" in found.stdout


def test_several_columns_of_labels_have_krippendorffs_alpha(desk: Path) -> None:
    data = json.loads(run("--compare", "quiet=first:bad", "--compare", "quiet=second:bad", "--format", "json").stdout)
    first, second = data["agreements"]
    assert (first["kappa"], first["kappa_interval"]["high"]) == (1.0, 1.0)
    assert second["kappa_interval"]["low"] <= second["kappa"] <= second["kappa_interval"]["high"] < 1
    [people] = data["labellers"]
    assert (people["columns"], people["items"]) == (["meta.first", "meta.second"], 80)
    assert people["interval"]["low"] <= people["alpha"] <= people["interval"]["high"]
    assert "On quiet people agree in" in run("--compare", "quiet=first:bad", "--compare", "quiet=second:bad").output
    same = run("--compare", "quiet=first:bad", "--compare", "quiet=first:bad", "--format", "json")
    assert json.loads(same.stdout)["labellers"][0]["alpha"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--unpaired",), "--unpaired is about --against"),
        (("--against", "nowhere.jsonl"), "there are no transcripts at `nowhere.jsonl`"),
        (("--against", "there.jsonl", "--unpaired"), "80 prompts are both here and in `there.jsonl`"),
        (("--against", "rules.bylaw"), "rules.bylaw"),
        (("--weights", "polite=often"), "the weight of `polite` is no number: `often`"),
        (("--most-unscored", "3"), "3"),
        (("--most-unscored", "300%"), "is not between 0% and 100%"),
        (("--compare", "quit=first:bad"), "did you mean `quiet`?"),
    ],
)
def test_wrong_options_are_one_message(desk: Path, arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments, "--out", "report")
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert "Traceback" not in done.output
    assert not (desk / "report").exists()


def test_a_gate_fails_where_too_much_could_not_be_scored(desk: Path) -> None:
    """Of a rule that is weighed only, and so could not fail: 3 of 80 answers are missing."""
    kept = 'policy harbour version "1.0" edition 1\nrule quiet at user { should not contain "!!" weight 2 }\n'
    (desk / "rules.bylaw").write_text(kept, encoding="utf-8")
    lines = (desk / "here.jsonl").read_text(encoding="utf-8").splitlines()
    silent = [json.dumps({"messages": [{"role": "user", "content": f"silent {n}"}]}) for n in range(3)]
    (desk / "here.jsonl").write_text("\n".join([*lines[3:], *silent, ""]), encoding="utf-8")
    assert run("--gate").exit_code == 4
    assert run("--gate", "--most-unscored", "0.0376").exit_code == 0  # 3 of all 80, not of the 77 that were scored
    assert run("--gate", "--most-unscored", "0.0374").exit_code == 4
    assert run("--gate", "--most-unscored", "3.76%").exit_code == 0
    assert run("--gate", "--most-unscored", "3.74%").exit_code == 4
    assert run().exit_code == 0
    run("--out", "report", "--report", "md")
    words = (desk / "report" / "audit.md").read_text(encoding="utf-8").replace("\\", "")
    assert "Too much could not be scored: 3.8% of the answers to which quiet may apply, where 2% are allowed." in words
    run("--out", "report", "--report", "junit")
    assert "<error" in (desk / "report" / "junit.xml").read_text(encoding="utf-8")
    [term] = json.loads((desk / "report" / "summary.json").read_text(encoding="utf-8"))["terms"]
    assert (
        term["interval_of_all"]["low"] < term["best"] < term["rate"] < term["worst"] < term["interval_of_all"]["high"]
    )


def test_records_from_before_there_were_tests_are_still_read(desk: Path) -> None:
    data = json.loads(run("--format", "json").stdout)
    record = read_back(AuditRecord, json.dumps(data), data)
    assert record.tests is not None
    added = {"tests", "score", "against", "labellers", "most_unscored", "stopping", "power", "corrections"}
    old = {key: value for key, value in data.items() if key not in added}
    for term in old["terms"]:
        del term["interval_of_all"], term["is_scored_enough"]
    found = read_back(AuditRecord, json.dumps(old), old)
    assert found.tests is None
    assert found.terms == record.terms
    render_console(found, Console(file=io.StringIO()))
    assert "Could it be chance?" not in render_markdown(found)


def test_nothing_is_said_of_chance_where_there_is_no_limit(desk: Path) -> None:
    kept = 'policy harbour version "1.0" edition 1\nrule polite at user { must not contain "stupid" }\n'
    (desk / "rules.bylaw").write_text(kept, encoding="utf-8")
    assert "chance" not in run().output
    assert "chance" not in run("--format", "markdown").output


def test_hostile_names_reach_no_report_as_they_are(desk: Path) -> None:
    evil = "<script>x</script>`\x1b[31m.jsonl"
    (desk / evil.replace("/", "_")).write_text((desk / "there.jsonl").read_text(encoding="utf-8"), encoding="utf-8")
    done = run("--against", evil.replace("/", "_"), "--out", "report", "--report", "html,md")
    assert done.exit_code == 0
    page = (desk / "report" / "audit.html").read_text(encoding="utf-8")
    assert "<script>x" not in page
    assert "\x1b" not in page + done.stdout + (desk / "report" / "audit.md").read_text(encoding="utf-8")
