"""All rules of a policy at once: which are broken more often than they may be, allowing for how many were tested.

Limits. The p-value of `at most L` is P(at least so many events | rate L), that of `at least L` P(at most so many), that
of `exactly L` twice the smaller: exact binomial probabilities, on the effective counts of `clustered.effective_counts`
where prompts have several answers. Unscored answers count as whatever speaks least against the limit, so that a
discovery holds whatever they are. A limit `for each prompt` is also broken where one prompt alone shows it: twice the
smaller of the p-value of all answers and of the smallest of C prompts, times C (Bonferroni). Averages have Student's t
with the clustered error.

Hard rules may never be broken: the limit is 0, and one violation has probability 0 under it. That is a proof and not
a test (p is 0 or 1), so hard rules are not among the p-values that are adjusted for each other. A hypothesis that
cannot be rejected falsely adds no false discovery: the levels hold for the limits and the hard rules together.

The gate does not read p-values. What it lets pass under a declared confidence was shown for every limit by itself, and
it asks this of all of them: such a rule of all errs with at most the probability of one (Berger 1982, Technometrics
24:295-300), so that nothing has to be adjusted. What it stops, `is_shown` says by Holm's method whether chance could
explain it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from bylaw.compiler.program import RewardTerm
from bylaw.runtime.audit import clustered, multiplicity, posterior, statistics
from bylaw.runtime.audit.bounds import MOST_UNSCORED
from bylaw.runtime.audit.columns import VIOLATED, VerdictColumns
from bylaw.runtime.audit.counts import ClusterCounts
from bylaw.runtime.audit.multiplicity import DISCOVERY_LEVEL, Method
from bylaw.runtime.audit.summary import Scored
from bylaw.runtime.statistics_record import RuleTest, RuleTests

GATE_LEVEL: Final = 0.05
METHODS: Final[Mapping[str, Method]] = {"bh": "benjamini-hochberg", "holm": "holm", "by": "benjamini-yekutieli"}
"""The method of each word of `--adjust`."""


def rule_tests(
    columns: VerdictColumns, method: Method = "benjamini-hochberg", level: float = DISCOVERY_LEVEL
) -> RuleTests:
    """The tests of all hard rules and limits. Raises ValueError on a bad method or level."""
    prompts = columns.prompts if columns.is_clustered else None
    found = []
    for index, term in enumerate(columns.terms):
        if term.kind == "hard":
            found.append(_certain(term, bool((columns.codes(index) == VIOLATED).any())))
        elif term.bound is not None:
            found.append(_test(term, Scored.of(term, columns.codes(index), columns.values(index), prompts)))
    return adjusted(found, method, level)


def adjusted(
    tests: Sequence[RuleTest], method: Method = "benjamini-hochberg", level: float = DISCOVERY_LEVEL
) -> RuleTests:
    """The tests with p-values adjusted for each other; those without one, and those without chance, stay apart."""
    chance = {test.term: test.p_value for test in tests if test.p_value is not None and not test.is_certain}
    if chance:
        listed = multiplicity.adjust(list(chance.values()), method, level)
        strict = multiplicity.adjust(list(chance.values()), "holm", GATE_LEVEL)
        by_term = dict(zip(chance, zip(listed.adjusted, strict.adjusted, strict=True), strict=True))
    else:
        multiplicity.adjust([1.0], method, level)  # a bad method or level is refused in any case
        by_term = {}
    return RuleTests(method, level, GATE_LEVEL, len(chance), tuple(_with(each, by_term, level) for each in tests))


def _with(test: RuleTest, by_term: Mapping[str, tuple[float, float]], level: float) -> RuleTest:
    if test.term not in by_term:
        return test
    value, holm = by_term[test.term]
    return replace(test, adjusted=value, holm=holm, is_found=value <= level, is_shown=holm <= GATE_LEVEL)


def _certain(term: RewardTerm, is_broken: bool) -> RuleTest:
    p_value = 0.0 if is_broken else 1.0
    return RuleTest(term.id, p_value, p_value, p_value, is_broken, is_broken, is_certain=True)


def _test(term: RewardTerm, scored: Scored) -> RuleTest:
    if not len(scored.values):
        why = "no answer could be scored" if scored.unscored else "it never applied"
        return RuleTest(term.id, None, why_not=why)
    if term.holds is None:
        return _mean_test(term, scored)
    limit = term.bound or 0.0
    few, many = scored.counts(False), scored.counts(True)
    sides = []
    if term.sense != "at least":
        sides.append(_side(term, few, limit, is_above=True))
    if term.sense != "at most":
        sides.append(_side(term, many, limit, is_above=False))
    return RuleTest(term.id, min(1.0, len(sides) * min(sides)), posterior=_posterior(term, scored.counts(), limit))


def _side(term: RewardTerm, counts: ClusterCounts, limit: float, *, is_above: bool) -> float:
    """The one-sided p-value of all answers, and of single prompts where the limit is for each."""
    tail = multiplicity.above if is_above else multiplicity.below
    overall = tail(*clustered.effective_counts(counts), limit)
    if not term.each_prompt or counts.clusters == counts.samples:
        return overall
    single = min(tail(events, size, limit) for events, size, _ in counts.rows)
    return min(1.0, 2 * min(overall, counts.clusters * single))


def _posterior(term: RewardTerm, counts: ClusterCounts, limit: float) -> float | None:
    if term.sense == "exactly":
        return None
    above = posterior.probability_above(*clustered.effective_counts(counts), limit)
    return 1 - above if term.sense == "at least" else above


def _mean_test(term: RewardTerm, scored: Scored) -> RuleTest:
    if scored.unscored > MOST_UNSCORED * (len(scored.values) + scored.unscored):
        return RuleTest(term.id, None, why_not="too many answers could not be scored")
    owners = None if scored.prompts is None else scored.prompts.tolist()
    found = statistics.estimate(scored.values.tolist(), owners)
    if not found.standard_error:
        return RuleTest(term.id, None, why_not="the answers show no spread to judge an average by")
    away = (found.mean - (term.bound or 0.0)) / found.standard_error
    over = t_tail(away, found.degrees)
    if term.sense == "exactly":
        return RuleTest(term.id, 2 * min(over, 1 - over))
    return RuleTest(term.id, over if term.sense == "at most" else 1 - over)


def t_tail(t: float, degrees: float) -> float:
    """P(T ≥ t) of Student's law."""
    half = 0.5 * statistics.beta_cdf(degrees / (degrees + t * t), degrees / 2, 0.5)
    return half if t >= 0 else 1 - half


def found_terms(tests: RuleTests) -> tuple[str, ...]:
    """The clauses that count as broken more often than they may be, by the list of discoveries."""
    return tuple(test.term for test in tests.tests if test.is_found)
