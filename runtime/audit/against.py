"""Two audits under the same rules compared clause by clause: two models, or two checkpoints of one.

Where both answered the same prompts, answers are compared as pairs: the k-th answer to a prompt here with the k-th
there, among those that the clause applies to and that could be scored. Answers to one prompt are exchangeable, so which
of them are paired says nothing of the outcome; those without a partner are left out and counted. One pair a prompt has
Tango's interval and McNemar's exact test, several the clustered forms of both (`comparison`). Where no prompt is in
both, rates are those of independent samples: Newcombe's interval, and as p-value the smallest error at which it leaves
out 0. Differences are always here minus there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.program import RewardTerm
from bylaw.runtime.audit import clustered, comparison, multiplicity, statistics
from bylaw.runtime.audit.columns import UNSCORED, VIOLATED, VerdictColumns, is_asked
from bylaw.runtime.audit.counts import ClusterCounts
from bylaw.runtime.audit.multiplicity import DISCOVERY_LEVEL, Method
from bylaw.runtime.audit.rules_together import t_tail
from bylaw.runtime.audit.statistics import CONFIDENCE
from bylaw.runtime.interval import Interval
from bylaw.runtime.statistics_record import Against, RuleDifference


class AgainstError(Exception):
    """Audits that cannot be compared; text fit for users."""


@dataclass(frozen=True)
class _Side:
    """One audit: its columns, and for each of its prompts the number that both give it, -1 where only it has it."""

    columns: VerdictColumns
    shared: NDArray[np.int64]

    def scored(self, index: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(values [k], prompts [k]) of the answers that term `index` could score; 0 and 1 for statements."""
        known = self.columns.codes(index) <= VIOLATED
        values = self.columns.values(index)[known]
        is_statement = self.columns.terms[index].holds is not None
        return (values != 0).astype(np.float64) if is_statement else values, self.columns.prompts[known]

    def common(self, index: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """As `scored`, of the prompts that both audits have, with the shared numbers of these."""
        values, prompts = self.scored(index)
        numbers = self.shared[prompts]
        return values[numbers >= 0], numbers[numbers >= 0]


def compare_against(
    here: VerdictColumns,
    there: VerdictColumns,
    *,
    source: str,
    clauses: Mapping[str, str],
    is_paired: bool = True,
    method: Method = "benjamini-hochberg",
    level: float = DISCOVERY_LEVEL,
) -> Against:
    """Every clause here and there. `source` names the transcripts there, `clauses` has the words of each term.

    Raises AgainstError where the rules differ, where no prompt is in both and `is_paired`, and where some is and not.
    ValueError on a bad method or level.
    """
    if [term.id for term in here.terms] != [term.id for term in there.terms]:
        raise AgainstError("the two audits are of other rules: audit both under the same policy")
    numbers = {key: number for number, key in enumerate(here.keys) if is_asked(key)}
    known = [numbers.get(key, -1) if is_asked(key) else -1 for key in there.keys]
    common = {number for number in known if number >= 0}
    _need(is_paired, len(common), source)
    ours = np.array([number if number in common else -1 for number in range(here.prompt_count)], np.int64)
    sides = _Side(here, ours), _Side(there, np.array(known, np.int64))
    compare = _paired if is_paired else _unpaired
    rules = [_rule(compare, *sides, index, clauses) for index in range(len(here.terms))]
    return Against(
        source,
        there.count,
        is_paired,
        len(common),
        here.prompt_count - len(common),
        there.prompt_count - len(common),
        method,
        level,
        _adjusted(rules, method, level),
        _notes(here, there, rules),
    )


def _need(is_paired: bool, common: int, source: str) -> None:
    if is_paired and not common:
        raise AgainstError(
            f"no prompt is both here and in `{source}`, so that answers cannot be compared as pairs; ask the same "
            "prompts again, or give --unpaired to compare the two as independent samples"
        )
    if not is_paired and common:
        raise AgainstError(
            f"{common:,} prompts are both here and in `{source}`: leave out --unpaired to compare answers as pairs, "
            "which is more exact"
        )


def _rule(
    compare: Callable[[RewardTerm, _Side, _Side, int], RuleDifference],
    here: _Side,
    there: _Side,
    index: int,
    clauses: Mapping[str, str],
) -> RuleDifference:
    term = here.columns.terms[index]
    found = compare(term, here, there, index)
    return replace(found, clause=clauses.get(term.id, term.id), worse=_worse(term))


def _worse(term: RewardTerm) -> int:
    """1 where more is worse, -1 where less is, 0 where neither is."""
    if term.kind == "graded":
        return 0 if not term.weight else -1 if term.weight > 0 else 1
    if term.bound is not None and term.sense == "exactly":
        return 0
    return -1 if term.bound is not None and term.sense == "at least" else 1


def _adjusted(rules: Sequence[RuleDifference], method: Method, level: float) -> tuple[RuleDifference, ...]:
    p_values = [rule.p_value for rule in rules if rule.p_value is not None]
    values = iter(multiplicity.adjust(p_values or [1.0], method, level).adjusted)
    done = []
    for rule in rules:
        value = None if rule.p_value is None else next(values)
        done.append(rule if value is None else replace(rule, adjusted=value, is_found=value <= level))
    return tuple(done)


def _notes(here: VerdictColumns, there: VerdictColumns, rules: Sequence[RuleDifference]) -> tuple[str, ...]:
    notes = []
    for columns, words in ((here, "here"), (there, "there")):
        unnamed = sum(not is_asked(key) for key in columns.keys)
        if unnamed:
            notes.append(f"{unnamed:,} transcripts {words} have no message of a user and are no pairs.")
        lost = [int((columns.codes(index) == UNSCORED).sum()) for index in range(len(columns.terms))]
        if any(lost):
            worst = columns.terms[lost.index(max(lost))].id
            notes.append(
                f"Of {columns.count:,} answers {words} up to {max(lost):,} could not be scored (by {worst}): they are "
                "left out, so that the two may differ in what is not seen here."
            )
    few = [rule for rule in rules if rule.p_value is not None and rule.prompts < clustered.FEW_CLUSTERS]
    if few:
        notes.append(
            f"{len(few):,} of {len(rules):,} clauses are compared on fewer than {clustered.FEW_CLUSTERS} prompts: what "
            "differs between prompts is hardly known then."
        )
    return tuple(notes)


# ---------------------------------------------------------------------------------------------------------- as pairs
def _paired(term: RewardTerm, here: _Side, there: _Side, index: int) -> RuleDifference:
    (first, one), (second, two) = here.common(index), there.common(index)
    left, right = _partners(one, two)
    blank = RuleDifference(
        term.id, "", term.holds is not None, left_out_here=len(one) - len(left), left_out_there=len(two) - len(right)
    )
    if not len(left):
        return replace(blank, pairs=0, why_not="no prompt has an answer on both sides to which it applies")
    a, b, prompts = first[left], second[right], one[left]
    groups = len(np.unique(prompts))
    found = replace(
        blank, pairs=len(a), here_count=len(a), there_count=len(a), prompts=groups,
        here=float(a.mean()), there=float(b.mean()), difference=float((a - b).mean()),
    )  # fmt: skip
    if term.holds is None:
        return _of_values(found, a, b, prompts)
    ups, downs = int((a > b).sum()), int((a < b).sum())
    found = replace(found, only_here=ups, only_there=downs)
    if groups == len(a):
        z = statistics.normal_quantile((1 + CONFIDENCE) / 2)
        interval = comparison.tango(ups, downs, len(a), z)
        return replace(found, interval=interval, p_value=comparison.mcnemar_counts(ups, downs))
    if groups < 2:
        return replace(found, why_not="all pairs answer one prompt, which does not show how prompts differ")
    if ups + downs > comparison.MOST_FLIPS:
        # so many differences need no exact law: the means of prompts have Student's
        sizes = np.bincount(prompts)
        means = [np.bincount(prompts, x)[sizes > 0] / sizes[sizes > 0] for x in (a, b)]
        of_means = comparison.paired_difference(means[0].tolist(), means[1].tolist())
        return replace(
            found, here=of_means.first, there=of_means.second, difference=of_means.difference,
            interval=of_means.interval, p_value=of_means.p_value,
        )  # fmt: skip
    paired = comparison.paired_difference(a.tolist(), b.tolist(), prompts.tolist())
    return replace(found, interval=paired.interval, p_value=paired.p_value)


def _partners(one: NDArray[np.int64], two: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places in `one` [a] and `two` [b] of the pairs: the k-th answer to a prompt with the k-th."""
    ids = []
    for prompts in (one, two):
        order = np.argsort(prompts, kind="stable")
        starts = np.searchsorted(prompts[order], prompts[order])
        ranks = np.empty(len(prompts), np.int64)
        ranks[order] = np.arange(len(prompts)) - starts
        ids.append(prompts * (len(one) + len(two) + 1) + ranks)
    _, left, right = np.intersect1d(ids[0], ids[1], assume_unique=True, return_indices=True)
    return left, right


def _of_values(
    found: RuleDifference, a: NDArray[np.float64], b: NDArray[np.float64], prompts: NDArray[np.int64]
) -> RuleDifference:
    if found.prompts < 2:
        return replace(found, why_not="all pairs answer one prompt, which does not show how prompts differ")
    if not statistics.estimate((a - b).tolist(), prompts.tolist()).standard_error:
        return replace(found, why_not="all prompts differ by the same, so that their spread is not known")
    paired = comparison.paired_difference(a.tolist(), b.tolist(), prompts.tolist(), bounds=None)
    return replace(found, interval=paired.interval, p_value=paired.p_value)


# ------------------------------------------------------------------------------------------------ independent samples
def _unpaired(term: RewardTerm, here: _Side, there: _Side, index: int) -> RuleDifference:
    (first, one), (second, two) = here.scored(index), there.scored(index)
    found = RuleDifference(term.id, "", term.holds is not None, here_count=len(first), there_count=len(second))
    if not len(first) or not len(second):
        where = "neither side" if not len(first) and not len(second) else "one side only"
        return replace(found, why_not=f"it was measured on {where}")
    found = replace(
        found, here=float(first.mean()), there=float(second.mean()), difference=float(first.mean() - second.mean()),
        prompts=min(len(np.unique(one)), len(np.unique(two))),
    )  # fmt: skip
    if term.holds is None:
        return _means(
            found, statistics.estimate(first.tolist(), one.tolist()), statistics.estimate(second.tolist(), two.tolist())
        )
    counts = ClusterCounts.of_columns(first != 0, one), ClusterCounts.of_columns(second != 0, two)
    return replace(found, interval=_newcombe(*counts, CONFIDENCE), p_value=_smallest_error(*counts))


def _newcombe(one: ClusterCounts, two: ClusterCounts, confidence: float) -> Interval:
    intervals = clustered.interval_of(one, confidence), clustered.interval_of(two, confidence)
    return comparison.difference_of(one.share, intervals[0], two.share, intervals[1]).interval


def _smallest_error(one: ClusterCounts, two: ClusterCounts) -> float:
    """The smallest error 1 − c at which the interval of confidence c leaves out 0; at least 1e-12."""
    gap = one.share - two.share
    if gap == 0:
        return 1.0

    def leaves_out(error: float) -> bool:
        interval = _newcombe(one, two, 1 - error)
        return interval.low > 0 if gap > 0 else interval.high < 0

    low, high = math.log(1e-12), math.log(1 - 1e-12)
    if not leaves_out(math.exp(high)):
        return 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if leaves_out(math.exp(middle)) else (middle, high)
    return math.exp(high)


def _means(found: RuleDifference, one: statistics.Estimate, two: statistics.Estimate) -> RuleDifference:
    """Welch's interval and test of two means."""
    if not one.standard_error or not two.standard_error:
        return replace(found, why_not="the answers of one side show no spread to judge an average by")
    squares = one.standard_error**2, two.standard_error**2
    error = math.sqrt(sum(squares))
    degrees = error**4 / (squares[0] ** 2 / one.degrees + squares[1] ** 2 / two.degrees)
    half = clustered.t_quantile((1 + CONFIDENCE) / 2, degrees) * error
    gap = one.mean - two.mean
    return replace(
        found, interval=Interval(gap - half, gap + half), p_value=min(1.0, 2 * t_tail(abs(gap) / error, degrees))
    )
