"""Rates from a sheet of labels that was not drawn evenly: rare verdicts are labelled more often, and count for less.

Source: Cochran, *Sampling techniques*, 1977, ch. 5 and 12 (strata, two phases), with the judge's values as in PPI++.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from bylaw.runtime.audit.statistics import CONFIDENCE, t_quantile
from bylaw.runtime.judges.estimates import (
    Corrected,
    CorrectionError,
    around,
    check_values,
    covariance,
    mean,
    variance,
)
from bylaw.runtime.record import Interval


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One labelled text: what people say (0 to 1, or true and false), what the judge says, and the stratum, such as its
    verdict, that it was drawn from at random."""

    people: float
    judge: float
    stratum: Hashable


def stratified(
    sheet: Sequence[SheetRow], audited: Mapping[Hashable, Sequence[float]], confidence: float = CONFIDENCE
) -> Corrected:
    """The mean of what people would say, from a sheet of texts drawn at random within strata.

    `audited`: the judge's values of all texts of each stratum, those on the sheet among them. Each text on the sheet
    stands for (texts of its stratum)/(labels of its stratum) texts, so it does not matter that rare verdicts were
    labelled more often. Variance: of the audited texts as a sample of what the model writes, and of the sheet as a
    sample of them. In a stratum of yes-or-no labels, a label more of either kind keeps the interval from being a point.

    Raises CorrectionError for a stratum with fewer than two labels (unless all of it has labels), labels of a stratum
    that was not audited, more labels than texts, or a value outside 0 to 1.
    """
    rows: dict[Hashable, list[SheetRow]] = {stratum: [] for stratum, values in audited.items() if len(values)}
    for row in sheet:
        if row.stratum not in rows:
            raise CorrectionError(f"a label is of the stratum `{row.stratum}`, and no audited text is in it")
        rows[row.stratum].append(row)
    if not rows:
        raise CorrectionError("there are no audited texts")
    check_values([r.people for r in sheet], [r.judge for r in sheet], [v for part in audited.values() for v in part])
    total = sum(len(audited[stratum]) for stratum in rows)
    for stratum, mine in rows.items():
        _check_stratum(stratum, len(mine), len(audited[stratum]))
    weight = _stratified_power(rows, audited, total)
    value, of_sheet, within, between = 0.0, 0.0, 0.0, []
    for stratum, mine in rows.items():
        people, size = [float(r.people) for r in mine], len(audited[stratum])
        share = size / total
        differences = [r.people - weight * r.judge for r in mine]
        at = weight * mean(audited[stratum]) + mean(differences)
        value += share * at
        of_sheet += share**2 * (1 - len(mine) / size) / len(mine) * max(variance(differences), _least(people))
        within += share * max(variance(people), _least(people))
        between.append((share, mean(people)))
    middle = sum(share * found for share, found in between)
    of_texts = (within + sum(share * (found - middle) ** 2 for share, found in between)) / total
    error = math.sqrt(of_sheet + of_texts)
    half = t_quantile((1 + confidence) / 2, max(1, len(sheet) - len(rows))) * error
    value = min(1.0, max(0.0, value))
    return Corrected(
        value=value,
        standard_error=error,
        interval=around(Interval(value - half, value + half), value),
        power=weight,
        labels_alone=None,
        judged=mean([v for stratum in rows for v in audited[stratum]]),
        labelled=len(sheet),
        audited=total,
    )


def _stratified_power(
    rows: Mapping[Hashable, list[SheetRow]], audited: Mapping[Hashable, Sequence[float]], total: int
) -> float:
    """The λ of least variance of the sheet; 0 where verdicts do not vary within strata, and so say nothing more."""
    above = below = 0.0
    for stratum, mine in rows.items():
        size = len(audited[stratum])
        part = (size / total) ** 2 * (1 - len(mine) / size) / len(mine)
        judged = [r.judge for r in mine]
        above += part * covariance([r.people for r in mine], judged)
        below += part * variance(judged)
    return min(1.0, max(0.0, above / below)) if below > 0 else 0.0


def _least(people: Sequence[float]) -> float:
    """The least variance that yes-or-no labels are taken to have: that of a label more of either kind."""
    if any(value not in (0, 1) for value in people):
        return 0.0
    share = (sum(people) + 1) / (len(people) + 2)
    return share * (1 - share)


def _check_stratum(stratum: Hashable, labelled: int, size: int) -> None:
    if labelled > size:
        raise CorrectionError(f"the stratum `{stratum}` has {labelled} labels and {size} audited texts")
    if labelled < min(2, size):
        raise CorrectionError(
            f"the stratum `{stratum}` has {size} audited texts and {labelled} labels; label 2 of them at least, "
            f"drawn at random"
        )
