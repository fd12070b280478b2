"""What a judge is worth, from texts that were drawn by strata: its sensitivity and kappa need the weights of the texts.

Of texts drawn by verdict, half of them with a rare verdict, the plain shares say nothing of all texts: errors on the
common verdict, each of which stands for many, would hardly count (Begg and Greenes, *Biometrics* 39 (1983) 207–215).
Intervals are those of the posterior under Jeffreys' prior, in each stratum and verdict for itself: no point where all
agree, and right where few do not. The audited texts are themselves a sample of what the model writes (Bayesian
bootstrap, Rubin 1981).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bylaw.runtime.audit.statistics import CONFIDENCE
from bylaw.runtime.judges.correction import JudgeQuality
from bylaw.runtime.judges.estimates import CorrectionError
from bylaw.runtime.judges.label_sheet import SheetRow
from bylaw.runtime.record import Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

DRAWS = 4_000
"""Of the posterior: the ends of an interval have an error of 2 % of its length."""


@dataclass(frozen=True, slots=True)
class _Cell:
    """Texts of one stratum and verdict: how many there are to which the question applies, how many prompts they answer,
    and how many of the labelled ones people say "does" or "does not" of, as many as there are prompts among them."""

    texts: float
    prompts: float
    judged: bool
    yes: float
    no: float


def sheet_quality(
    sheet: Sequence[SheetRow],
    audited: Mapping[Hashable, Sequence[float]],
    confidence: float = CONFIDENCE,
    clusters: Mapping[Hashable, Sequence[Hashable]] | None = None,
) -> JudgeQuality:
    """`quality` over all audited texts, from a sheet drawn at random within strata. Yes-or-no values; what is not a
    number (the question does not apply, or there is no verdict) is left out. Counts of the result are effective ones.

    Labels of one prompt (`cluster`, where it is not None) count together as one for the intervals, and so do audited
    texts of one prompt, where `clusters` says which they answer.

    Raises CorrectionError where no text has both a label and a verdict, and for values other than 0 and 1.
    """
    cells = _cells(sheet, audited, clusters)
    labelled = sum(not math.isnan(r.people) and not math.isnan(r.judge) for r in sheet)
    if not labelled:
        raise CorrectionError("no text has both a label and a verdict")
    import numpy as np

    shares = np.array([[(c.yes + 0.5) / (c.yes + c.no + 1) if not c.yes + c.no else c.yes / (c.yes + c.no)]
                       for c in cells])  # fmt: skip
    generator = np.random.default_rng(0)
    drawn = np.stack([generator.beta(c.yes + 0.5, c.no + 0.5, DRAWS) for c in cells])
    sizes = np.stack([c.texts / c.prompts * generator.gamma(c.prompts, size=DRAWS) for c in cells])
    judged = np.array([cell.judged for cell in cells])
    at, spread = _measures(judged, np.array([[c.texts] for c in cells]), shares), _measures(judged, sizes, drawn)
    levels = [(1 - confidence) / 2, (1 + confidence) / 2]
    found: list[tuple[float | None, Interval | None]] = []
    for value, values in zip(at, spread, strict=True):
        middle = float(value[0])
        if math.isnan(middle):
            found.append((None, None))
            continue
        low, high = np.quantile(values[np.isfinite(values)], levels).tolist()
        found.append((middle, Interval(min(low, middle), max(high, middle))))
    (hit, hit_at), (spared, spared_at), (kappa, kappa_at) = found
    positives, negatives = _effective(spread[0]), _effective(spread[1])
    return JudgeQuality(
        true_positive=positives * (hit or 0.0),
        false_positive=negatives * (1 - spared) if spared is not None else 0.0,
        false_negative=positives * (1 - hit) if hit is not None else 0.0,
        true_negative=negatives * (spared or 0.0),
        sensitivity=hit,
        sensitivity_interval=hit_at,
        specificity=spared,
        specificity_interval=spared_at,
        kappa=kappa,
        kappa_interval=kappa_at,
        labelled=labelled,
    )


def _cells(
    sheet: Sequence[SheetRow],
    audited: Mapping[Hashable, Sequence[float]],
    clusters: Mapping[Hashable, Sequence[Hashable]] | None,
) -> list[_Cell]:
    cells = []
    for stratum, values in audited.items():
        for verdict in (False, True):
            texts = sum(value == verdict for value in values)
            mine = [r for r in sheet if r.stratum == stratum and r.judge == verdict]
            if any(r.people not in (0, 1) and not math.isnan(r.people) for r in mine):
                raise CorrectionError("the quality of a judge is measured with labels of yes or no")
            applying = [r for r in mine if not math.isnan(r.people)]
            if texts and (not mine or applying):
                share = len(applying) / len(mine) if mine else 1.0
                prompts = len({r.cluster if r.cluster is not None else number for number, r in enumerate(applying)})
                scale = prompts / len(applying) if applying else 1.0
                yes = sum(bool(r.people) for r in applying)
                asked = texts
                if clusters is not None:
                    asked = len({key for key, v in zip(clusters[stratum], values, strict=True) if v == verdict})
                no = len(applying) - yes
                cells.append(_Cell(texts * share, asked, verdict, yes * scale, no * scale))
    return cells


def _measures(
    judged: NDArray[np.bool_], texts: FloatArray, yes: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(sensitivity, specificity, kappa) [draws] where there are so many texts [cells, draws], of which people say
    "does" of these shares [cells, draws]; not a number where it is not defined."""
    import numpy as np

    of_yes, of_no = texts * yes, texts * (1 - yes)
    both, missed = of_yes[judged].sum(axis=0), of_yes[~judged].sum(axis=0)
    wrong, neither = of_no[judged].sum(axis=0), of_no[~judged].sum(axis=0)
    total = texts.sum(axis=0)
    people, judge, same = (both + missed) / total, (both + wrong) / total, (both + neither) / total
    chance = people * judge + (1 - people) * (1 - judge)
    with np.errstate(divide="ignore", invalid="ignore"):
        return both / (both + missed), neither / (neither + wrong), (same - chance) / (1 - chance)


def _effective(draws: FloatArray) -> float:
    """Of how many texts drawn evenly a share would be known as well: those of the beta law with its mean and error."""
    import numpy as np

    values = draws[np.isfinite(draws)]
    if len(values) < 2:
        return 0.0
    middle, square = float(values.mean()), float(values.var(ddof=1))
    return max(1.0, middle * (1 - middle) / square - 1) if square > 0 else 0.0
