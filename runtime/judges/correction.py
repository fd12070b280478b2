"""What a judge's verdicts are worth, from a small set of texts that people labelled too, and rates freed of its errors.

A rate of verdicts is not the rate of the thing: judges are off by up to twenty points, and by another amount for each
model under test. So a calibration holds for the model whose texts were labelled, and for no other.

* `quality`: sensitivity, specificity and kappa from pairs (people, judge).
* `prediction_powered`: the rate from labels of a *random* part of the audited texts and verdicts on the rest; never
  worse, for many texts, than the labels alone (PPI++). Takes graded scores too. This is the one to report.
* `label_sheet.stratified`: the same from a label sheet that was drawn by strata, as by verdict; `sheet_quality` is
  `quality` for those.
* `rogan_gladen`: the rate from sensitivity and specificity alone, as a check on the others: it needs no labels of the
  audited texts, and trusts that both are the same there.

Sources: Angelopoulos, Duchi and Zrnic, "PPI++", 2023; Rogan and Gladen, *American Journal of Epidemiology* 107 (1978)
71–76; Lang and Reiczigel, *Preventive Veterinary Medicine* 113 (2014) 13–22; Fleiss, Cohen and Everitt, *Psychological
Bulletin* 72 (1969) 323–327 (error of kappa).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from bylaw.runtime.audit import clustered
from bylaw.runtime.audit.statistics import (
    CONFIDENCE,
    cohen_kappa,
    estimate,
    normal_quantile,
    t_quantile,
    wilson,
)
from bylaw.runtime.judges.estimates import (
    Corrected,
    around,
    check_pairs,
    check_values,
    covariance,
    mean,
    shown,
    variance,
)
from bylaw.runtime.judges.estimates import CorrectionError as CorrectionError
from bylaw.runtime.record import Interval

LEAST_INFORMATION = 0.2
"""Below this, sensitivity + specificity − 1 divides noise by almost nothing: no rate is computed."""
_FEW = 5


# ------------------------------------------------------------------------------------------------ what a judge is worth
@dataclass(frozen=True, slots=True)
class JudgeQuality:
    """A judge held against people. Positive: people say that the text does (is violated, expresses the concept).

    Counts of texts; `sensitivity`: the share of the judge's "does" where people say "does", `specificity` likewise for
    "does not", each with its 95 % interval and None where people gave no such label. `kappa`: agreement beyond chance;
    None where one label only was given by both. Where texts were drawn by strata the counts are effective ones: of
    texts drawn evenly that would tell as much; `labelled` is then how many there were.
    """

    true_positive: float
    false_positive: float
    false_negative: float
    true_negative: float
    sensitivity: float | None
    sensitivity_interval: Interval | None
    specificity: float | None
    specificity_interval: Interval | None
    kappa: float | None
    kappa_interval: Interval | None
    labelled: int | None = None

    @property
    def positives(self) -> float:
        """Texts of which people say that they do."""
        return self.true_positive + self.false_negative

    @property
    def negatives(self) -> float:
        """Texts of which people say that they do not."""
        return self.true_negative + self.false_positive

    @property
    def information(self) -> float | None:
        """Sensitivity + specificity − 1 (Youden's J): 0 for a judge that guesses."""
        if self.sensitivity is None or self.specificity is None:
            return None
        return self.sensitivity + self.specificity - 1

    def describe(self) -> str:
        """One line to stand beside every rate of this judge."""
        count = self.positives + self.negatives if self.labelled is None else self.labelled
        parts = [f"{round(count)} texts labelled by people too"]
        for name, value, interval in (
            ("sensitivity", self.sensitivity, self.sensitivity_interval),
            ("specificity", self.specificity, self.specificity_interval),
            ("kappa", self.kappa, self.kappa_interval),
        ):
            found = "unknown" if value is None or interval is None else f"{value:.2f} {shown(interval)}"
            parts.append(f"{name} {found}")
        return ", ".join(parts)


def quality(people: Sequence[bool], judge: Sequence[bool], groups: Sequence[Hashable] | None = None) -> JudgeQuality:
    """How a judge's verdicts [n] agree with people's labels [n] of the same texts. Equal `groups` [n] (conversations)
    do not count as independent. Raises CorrectionError for no label and for lengths that differ."""
    check_pairs(people, judge)
    if groups is not None and len(groups) != len(people):
        raise CorrectionError(f"there are {len(people)} labels and {len(groups)} groups; each label has one group")
    cells = Counter((bool(p), bool(j)) for p, j in zip(people, judge, strict=True))
    table = (cells[True, True], cells[False, True], cells[True, False], cells[False, False])
    return _quality(table, _class_rate(people, judge, groups, True), _class_rate(people, judge, groups, False))


def quality_of_counts(true_positive: int, false_positive: int, false_negative: int, true_negative: int) -> JudgeQuality:
    """`quality` from counts of independent texts. Raises CorrectionError for a negative count, and for none at all."""
    table = (true_positive, false_positive, false_negative, true_negative)
    if min(table) < 0 or not sum(table):
        raise CorrectionError("a judge is held against at least one label, and counts are not negative")
    return _quality(table, _share(true_positive, false_negative), _share(true_negative, false_positive))


def _quality(
    table: tuple[int, int, int, int], hits: tuple[float, Interval] | None, misses: tuple[float, Interval] | None
) -> JudgeQuality:
    kappa = cohen_kappa(*table)
    return JudgeQuality(
        *table,
        sensitivity=hits[0] if hits else None,
        sensitivity_interval=hits[1] if hits else None,
        specificity=misses[0] if misses else None,
        specificity_interval=misses[1] if misses else None,
        kappa=kappa,
        kappa_interval=None if kappa is None else _kappa_interval(table, kappa),
    )


def _class_rate(
    people: Sequence[bool], judge: Sequence[bool], groups: Sequence[Hashable] | None, label: bool
) -> tuple[float, Interval] | None:
    mine = [i for i, said in enumerate(people) if bool(said) is label]
    right = [bool(judge[i]) is label for i in mine]
    clusters = None if groups is None else [groups[i] for i in mine]
    return (sum(right) / len(right), _rate_interval(right, clusters)) if right else None


def _share(right: int, wrong: int) -> tuple[float, Interval] | None:
    outcomes = [True] * right + [False] * wrong
    return (right / len(outcomes), _rate_interval(outcomes, None)) if outcomes else None


def _rate_interval(outcomes: Sequence[bool], clusters: Sequence[Hashable] | None) -> Interval:
    if clusters is None:
        return wilson(sum(outcomes), len(outcomes))
    # texts of one conversation say nothing of how others vary
    return clustered.rate(outcomes, clusters).interval if len(set(clusters)) > 1 else Interval(0.0, 1.0)


def _kappa_interval(table: tuple[int, int, int, int], kappa: float) -> Interval:
    """By the large-sample error, with half a text added to each cell: no point where all agree."""
    both, judge_only, people_only, neither = (count + 0.5 for count in table)
    n = both + judge_only + people_only + neither
    yes = ((both + people_only) / n, (both + judge_only) / n)
    rows, columns = (yes[0], 1 - yes[0]), (yes[1], 1 - yes[1])
    chance = rows[0] * columns[0] + rows[1] * columns[1]
    near = ((both + neither) / n - chance) / (1 - chance)
    cells = {(0, 0): both / n, (0, 1): people_only / n, (1, 0): judge_only / n, (1, 1): neither / n}
    same = sum(cells[i, i] * (1 - (rows[i] + columns[i]) * (1 - near)) ** 2 for i in (0, 1))
    other = (1 - near) ** 2 * sum(cells[i, j] * (columns[i] + rows[j]) ** 2 for i, j in ((0, 1), (1, 0)))
    square = (same + other - (near - chance * (1 - near)) ** 2) / (n * (1 - chance) ** 2)
    half = normal_quantile((1 + CONFIDENCE) / 2) * math.sqrt(max(square, 0.0))
    return Interval(max(-1.0, min(kappa, near - half)), min(1.0, max(kappa, near + half)))


# ------------------------------------------------------------------------------------------------------ corrected rates
def rogan_gladen(judged: float, total: float, of: JudgeQuality, confidence: float = CONFIDENCE) -> Corrected:
    """The rate behind `judged` of `total` verdicts "does", (q + Sp − 1)/(Se + Sp − 1) kept within 0 to 1, with the
    interval of Lang and Reiczigel.

    Counts may be effective ones of clustered texts. Raises CorrectionError where people gave labels of one kind only,
    where Se + Sp − 1 is below 0.2, and for counts that are no share.
    """
    if not 0 <= judged <= total or not total:
        raise CorrectionError(f"{judged:g} of {total:g} verdicts is not a share")
    hit, spared, information = _informative(of)
    q, positives, negatives = judged / total, of.positives, of.negatives
    raw = (q + spared - 1) / information
    value = min(1.0, max(0.0, raw))
    error = math.sqrt(
        q * (1 - q) / total
        + value**2 * hit * (1 - hit) / positives
        + (1 - value) ** 2 * spared * (1 - spared) / negatives
    )
    found = _lang_reiczigel(judged, total, of, normal_quantile((1 + confidence) / 2))
    return Corrected(
        value=value,
        standard_error=error / information,
        interval=around(found, value),
        power=None,
        labels_alone=None,
        judged=q,
        labelled=round(positives + negatives) if of.labelled is None else of.labelled,
        audited=round(total),
    )


def _informative(of: JudgeQuality) -> tuple[float, float, float]:
    if of.sensitivity is None or of.specificity is None or of.information is None:
        kind = "do not" if of.sensitivity is not None else "do"
        raise CorrectionError(
            f"people labelled no text that they say {'does not' if kind == 'do not' else 'does'}, so that nothing is "
            f"known of the judge on texts that {kind}; label some of those"
        )
    if of.information < LEAST_INFORMATION:
        raise CorrectionError(
            f"the judge is not informative: sensitivity {of.sensitivity:.2f} + specificity {of.specificity:.2f} − 1 = "
            f"{of.information:.2f}, and a rate is corrected from {LEAST_INFORMATION} on; ask another judge, or word "
            f"the question more exactly"
        )
    return of.sensitivity, of.specificity, of.information


def _lang_reiczigel(judged: float, total: float, of: JudgeQuality, z: float) -> Interval:
    n, m1, m0 = total + z * z, of.positives + 2, of.negatives + 2
    q = (judged + z * z / 2) / n
    hit, spared = (of.true_positive + 1) / m1, (of.true_negative + 1) / m0
    information = hit + spared - 1
    if information <= 0:
        # few labels: with the added texts the judge is worth nothing, so that every rate is possible
        return Interval(0.0, 1.0)
    rate = (q + spared - 1) / information
    of_hit, of_spared = hit * (1 - hit) / m1, spared * (1 - spared) / m0
    shift = 2 * z * z * (rate * of_hit - (1 - rate) * of_spared)
    half = z * math.sqrt(q * (1 - q) / n + rate**2 * of_hit + (1 - rate) ** 2 * of_spared) / information
    return Interval(rate + shift - half, rate + shift + half)


def prediction_powered(
    people: Sequence[float],
    judge: Sequence[float],
    rest: Sequence[float],
    *,
    groups: Sequence[Hashable] | None = None,
    rest_groups: Sequence[Hashable] | None = None,
    power: float | None = None,
    confidence: float = CONFIDENCE,
) -> Corrected:
    """The mean of what people would say, from labels [n] and verdicts [n] of the same texts, and verdicts [N] on the
    `rest`: λ·mean(rest) + mean(people − λ·judge), where λ = cov(people, judge)/((1 + n/N) var(all verdicts)) kept
    within 0 to 1 unless `power` gives it. Values are 0 to 1 (or true and false). Variances have the divisor n − 1.

    The labelled texts must be a random part of the audited ones (else `label_sheet.stratified`). Equal `groups` are not
    independent. With fewer than five labels of one kind, or five disagreements, four made-up disagreements, two of
    each kind, widen the interval, so that it is no point where all agree; it is a t interval.

    Raises CorrectionError for fewer than two labels or groups of them, no rest, lengths that differ, or a value or
    `power` outside 0 to 1.
    """
    check_pairs(people, judge)
    check_values(people, judge, rest)
    if len(people) < 2 or not rest:
        raise CorrectionError("correcting takes two labels at least, and texts that have a verdict and no label")
    weight = _power(people, judge, rest) if power is None else power
    if not 0 <= weight <= 1:
        raise CorrectionError(f"the verdicts' part lies between 0 and 1, not {weight}")
    differences = [float(p) - weight * j for p, j in zip(people, judge, strict=True)]
    of_labels, of_rest = estimate(differences, groups), estimate([float(j) for j in rest], rest_groups)
    if of_labels.standard_error is None or (of_rest.standard_error is None and weight > 0 and len(rest) > 1):
        raise CorrectionError("all texts belong to one conversation, so that nothing is known of how others vary")
    value = weight * of_rest.mean + of_labels.mean
    # a single text of the rest varies as those with labels do
    of_one = of_rest.standard_error if of_rest.standard_error is not None else math.sqrt(variance(judge))
    error = math.hypot(weight * of_one, of_labels.standard_error)
    widened = error
    if _is_rare(people, judge):
        more = math.sqrt(variance([*differences, 1.0, 1.0, -weight, -weight]) / len(people))
        widened = math.hypot(weight * of_one, max(of_labels.standard_error, more))
    half = t_quantile((1 + confidence) / 2, of_labels.degrees) * widened
    value = min(1.0, max(0.0, value))
    return Corrected(
        value=value,
        standard_error=error,
        interval=around(Interval(value - half, value + half), value),
        power=weight,
        labels_alone=mean(people),
        judged=mean([*judge, *rest]),
        labelled=len(people),
        audited=len(people) + len(rest),
    )


def _power(people: Sequence[float], judge: Sequence[float], rest: Sequence[float]) -> float:
    varying = variance([*judge, *rest])
    if varying == 0:
        return 0.0
    best = covariance(people, judge) / ((1 + len(people) / len(rest)) * varying)
    return min(1.0, max(0.0, best))


def _is_rare(people: Sequence[float], judge: Sequence[float]) -> bool:
    if any(value not in (0, 1) for value in (*people, *judge)):
        return False
    yes, apart = sum(map(bool, people)), sum(p != j for p, j in zip(people, judge, strict=True))
    return min(yes, len(people) - yes) < _FEW or apart < _FEW
