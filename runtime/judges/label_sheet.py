"""Rates from a sheet of labels that was not drawn evenly: rare verdicts are labelled more often, and count for less.

Source: Cochran, *Sampling techniques*, 1977, ch. 5, 6 and 12 (strata, ratios, two phases), with the judge's values as
in PPI++; several texts of one prompt by the variance of the influence of each prompt (Binder 1983).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
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
    verdict, that it was drawn from at random. Not a number: the question does not apply to the text. `cluster`: the
    prompt that the text answers."""

    people: float
    judge: float
    stratum: Hashable
    cluster: Hashable = None


@dataclass(frozen=True, slots=True)
class _Stratum:
    """`share` of all texts, how many there are, and values less the rate: of people and judge for the labelled ones
    [n], of the judge for all [size]; 0 where the question does not apply."""

    share: float
    size: int
    rows: Sequence[SheetRow]
    people: list[float]
    judge: list[float]
    all: list[float]


def stratified(
    sheet: Sequence[SheetRow],
    audited: Mapping[Hashable, Sequence[float]],
    confidence: float = CONFIDENCE,
    clusters: Mapping[Hashable, Sequence[Hashable]] | None = None,
) -> Corrected:
    """The mean of what people would say, from a sheet of texts drawn at random within strata; where people say that the
    question does not apply to some, the mean among those to which it does (a ratio).

    `audited`: the judge's values of all texts of each stratum, those on the sheet among them; not a number where the
    question does not apply. Each text on the sheet stands for (texts of its stratum)/(labels of its stratum) texts, so
    it does not matter that rare verdicts were labelled more often. Variance: of the audited texts as a sample of what
    the model writes, and of the sheet as a sample of them. In a stratum of yes-or-no labels, a label more of either
    kind, the judge saying the opposite, keeps the interval from being a point. `clusters`: the prompt of each audited
    text, where prompts have several; the rows say theirs too. The variance is that of independent texts times the
    design effect of the prompts, which is never taken to be below 1.

    Raises CorrectionError for a stratum with fewer than two labels (unless all of it has labels), labels of a stratum
    that was not audited, more labels than texts, a value outside 0 to 1, prompts that do not fit the texts, and where
    the question applies to no labelled text.
    """
    rows = _by_stratum(sheet, audited)
    total = sum(len(audited[stratum]) for stratum in rows)
    applying = _weighted(rows, audited, total, lambda value: float(not math.isnan(value)))
    if applying <= 0:
        raise CorrectionError("people say of every labelled text that the question does not apply to it")
    labels_alone = _weighted(rows, audited, total, lambda value: 0.0 if math.isnan(value) else float(value)) / applying
    parts = {name: _stratum(mine, audited[name], total, labels_alone) for name, mine in rows.items()}
    weight, above, below = _ratio(parts.values(), rows, audited, applying)
    value = labels_alone + above / below
    of_sheet, within, between = 0.0, 0.0, []
    for part in parts.values():
        differences = [p - weight * j for p, j in zip(part.people, part.judge, strict=True)]
        spread = max(variance(differences), _least(part, labels_alone, weight))
        of_sheet += part.share**2 * (1 - len(differences) / part.size) / len(differences) * spread
        within += part.share * max(variance(part.people), _least(part, labels_alone, 0.0))
        between.append((part.share, mean(part.people)))
    middle = sum(share * found for share, found in between)
    of_texts = (within + sum(share * (found - middle) ** 2 for share, found in between)) / total
    degrees, design = max(1, len(sheet) - len(rows)), 1.0
    if clusters is not None:
        prompts, design = _design_effect(parts, clusters, weight)
        degrees = max(1, min(degrees, prompts - 1))
    error = math.sqrt(design * (of_sheet + of_texts)) / below
    half = t_quantile((1 + confidence) / 2, degrees) * error
    value = min(1.0, max(0.0, value))
    known = [v for stratum in rows for v in audited[stratum] if not math.isnan(v)]
    return Corrected(
        value=value,
        standard_error=error,
        interval=around(Interval(value - half, value + half), value),
        power=weight,
        labels_alone=labels_alone,
        judged=mean(known) if known else math.nan,
        labelled=len(sheet),
        audited=total,
    )


def _by_stratum(
    sheet: Sequence[SheetRow], audited: Mapping[Hashable, Sequence[float]]
) -> dict[Hashable, list[SheetRow]]:
    rows: dict[Hashable, list[SheetRow]] = {stratum: [] for stratum, values in audited.items() if len(values)}
    for row in sheet:
        if row.stratum not in rows:
            raise CorrectionError(f"a label is of the stratum `{row.stratum}`, and no audited text is in it")
        rows[row.stratum].append(row)
    if not rows:
        raise CorrectionError("there are no audited texts")
    for values in ([r.people for r in sheet], [r.judge for r in sheet], *audited.values()):
        check_values([v for v in values if not math.isnan(v)])
    for stratum, mine in rows.items():
        _check_stratum(stratum, len(mine), len(audited[stratum]))
    return rows


def _weighted(
    rows: Mapping[Hashable, Sequence[SheetRow]],
    audited: Mapping[Hashable, Sequence[float]],
    total: int,
    of: Callable[[float], float],
) -> float:
    """The mean over all texts of something that people say, from the labelled ones."""
    return math.fsum(len(audited[name]) / total * mean([of(r.people) for r in mine]) for name, mine in rows.items())


def _stratum(rows: Sequence[SheetRow], values: Sequence[float], total: int, rate: float) -> _Stratum:
    people, judge = [_less(r.people, rate) for r in rows], [_less(r.judge, rate) for r in rows]
    return _Stratum(len(values) / total, len(values), rows, people, judge, [_less(v, rate) for v in values])


def _less(value: float, rate: float) -> float:
    return 0.0 if math.isnan(value) else value - rate


def _ratio(
    parts: Iterable[_Stratum],
    rows: Mapping[Hashable, Sequence[SheetRow]],
    audited: Mapping[Hashable, Sequence[float]],
    applying: float,
) -> tuple[float, float, float]:
    """(λ, the mean of the values less the rate, the share of texts to which the question applies), both with λ.

    λ is that of least variance of the sheet; 0 where verdicts do not vary within strata, and so say nothing more.
    """
    strata = list(parts)
    upper = lower = 0.0
    for part in strata:
        scale = part.share**2 * (1 - len(part.people) / part.size) / len(part.people)
        upper += scale * covariance(part.people, part.judge)
        lower += scale * variance(part.judge)
    weight = min(1.0, max(0.0, upper / lower)) if lower > 0 else 0.0
    below = 0.0
    for part, name in zip(strata, rows, strict=True):
        told = mean([float(not math.isnan(v)) for v in audited[name]])
        apart = mean([float(not math.isnan(r.people)) - weight * (not math.isnan(r.judge)) for r in part.rows])
        below += part.share * (weight * told + apart)
    if below <= 0:
        # hardly any text to which the question applies: the labels alone are the safe way
        weight, below = 0.0, applying
    above = math.fsum(
        part.share
        * (weight * mean(part.all) + mean([p - weight * j for p, j in zip(part.people, part.judge, strict=True)]))
        for part in strata
    )
    return weight, above, below


def _least(part: _Stratum, rate: float, weight: float) -> float:
    """The least variance that what people say less λ·judge is taken to have, where labels are yes or no: that with a
    label more of either kind, the judge saying the opposite."""
    if any(row.people not in (0, 1) for row in part.rows if not math.isnan(row.people)):
        return 0.0
    values = [p - weight * j for p, j in zip(part.people, part.judge, strict=True)]
    values += [1 - rate + weight * rate, -rate - weight * (1 - rate)]
    middle = mean(values)
    return math.fsum((value - middle) ** 2 for value in values) / len(values)


def _design_effect(
    parts: Mapping[Hashable, _Stratum], clusters: Mapping[Hashable, Sequence[Hashable]], weight: float
) -> tuple[int, float]:
    """(how many prompts there are, how many times the variance is that of independent texts: 1 or more).

    A text moves the estimate by λ·judge and the mean difference of its stratum, and, where it has a label, by its own
    difference as often as it stands for others. What the texts of one prompt do is summed up before it is squared.
    """
    moved: list[tuple[Hashable, float]] = []
    own: list[tuple[Hashable, float, float]] = []
    for name, part in parts.items():
        names = clusters.get(name, ())
        if len(names) != part.size:
            raise CorrectionError(f"the stratum `{name}` has {part.size} texts and {len(names)} prompts")
        differences = [p - weight * j for p, j in zip(part.people, part.judge, strict=True)]
        middle, stands = mean(differences), part.size / len(differences)
        moved += [(key, weight * value + middle) for key, value in zip(names, part.all, strict=True)]
        own += [
            (row.cluster, weight * judge + middle, stands * (found - middle))
            for row, judge, found in zip(part.rows, part.judge, differences, strict=True)
        ]
    count = len(moved)
    centre = math.fsum(value for _, value in moved) / count
    sums: dict[Hashable, float] = {}
    for key, value in moved:
        sums[key] = sums.get(key, 0.0) + value - centre
    for key, _, more in own:
        sums[key] = sums.get(key, 0.0) + more
    alone = math.fsum((value - centre) ** 2 for _, value in moved)
    alone += math.fsum(more * (2 * (base - centre) + more) for _, base, more in own)
    if len(sums) < 2 or alone <= 0:
        return len(sums), count / max(1, len(sums))
    together = len(sums) / (len(sums) - 1) * math.fsum(value * value for value in sums.values())
    return len(sums), max(1.0, together / (count / (count - 1) * alone))


def _check_stratum(stratum: Hashable, labelled: int, size: int) -> None:
    if labelled > size:
        raise CorrectionError(f"the stratum `{stratum}` has {labelled} labels and {size} audited texts")
    if labelled < min(2, size):
        raise CorrectionError(
            f"the stratum `{stratum}` has {size} audited texts and {labelled} labels; label 2 of them at least, "
            f"drawn at random"
        )
