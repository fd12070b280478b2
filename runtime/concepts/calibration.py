"""From a model's raw scores of labelled examples to a score that means something, and to what is known of its errors.

The raw score of a text is any finite number that grows with how likely the text expresses the concept. It must be out
of fold: from a model that has not seen the text, nor another of its group. Then

* Platt scaling gives the probability p = σ(a·x + b) where texts are as the examples are (their prevalence);
* the decision threshold t on p is where balanced accuracy is best (the mean of bootstrap draws, which is steadier than
  the best place itself) or, with few examples, halfway between the classes;
* the score is σ(logit p − logit t): 0.5 at the threshold, whatever the number of examples of each class.

How good that is, is measured on texts that it was not made from: threshold and Platt scaling are made again without
each fold. Every figure has a 95 % interval, and what is not independent (one group) does not count as if it were.

Sources: Platt, "Probabilistic outputs for support vector machines", 1999 (the smoothed targets); Newcombe, *Statistics
in Medicine* 25 (2006) 559–573, method 5 (interval of an AUC that is right at 1); Obuchowski, *Biometrics* 53 (1997)
567–578 (AUC of groups); Guo et al., ICML 2017 (expected calibration error); Rubin, *Annals of Statistics* 9 (1981)
130–134 (the Bayesian bootstrap).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from bylaw.runtime.concepts import calibration_fit as fit
from bylaw.runtime.concepts import performance, score_band
from bylaw.runtime.concepts.conformal import BoolArray, ClassConformal, FloatArray, class_conformal, needed
from bylaw.runtime.concepts.performance import Estimated
from bylaw.runtime.concepts.score_band import Band

How: TypeAlias = Literal["midpoint", "out_of_fold"]
FEW_BELOW = 15
"""With fewer examples than this of one class, the best threshold out of fold is mostly luck: take the midpoint."""
WEAK_AUC = 0.7
"""A concept whose AUC is below this tells too little: a warning, and no ground for a `must`."""
DEFAULT_ALPHA = 0.1
_VERSION = 1


class CalibrationError(Exception):
    """Scores and labels that nothing can be calibrated from; text fit for users."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What raw scores of one concept mean.

    `slope` (never negative), `intercept`: of p = σ(slope·raw + intercept). `threshold`: on p. `prevalence`: the share
    of the examples that express the concept, of `positives` and `negatives`; examples of one group count as one of
    `groups`. `how` the threshold was found. `auc`: of raw scores. `balanced_accuracy`, `accuracy`: of the decision at
    the threshold, cross-fitted; `majority_accuracy`: of always saying the more frequent class (whose balanced accuracy
    is 0.5). `ece`: expected calibration error of p, cross-fitted, ten bins of equal width. `band`: raw scores with the
    bounds of the score's logit.
    """

    slope: float
    intercept: float
    threshold: float
    prevalence: float
    positives: int
    negatives: int
    groups: int
    how: How
    alpha: float
    auc: Estimated
    balanced_accuracy: Estimated
    accuracy: Estimated
    majority_accuracy: float
    ece: float
    band: Band
    conformal: ClassConformal

    def probability(self, raw: npt.ArrayLike) -> FloatArray:
        """The probability of "expresses" where texts are as the examples are: [N] for raw scores [N]."""
        return fit.sigmoid(self.slope * _finite(raw) + self.intercept)

    def score(self, raw: npt.ArrayLike) -> FloatArray:
        """The score at even odds, 0.5 at the threshold: [N] for raw scores [N]."""
        return fit.sigmoid(self.slope * _finite(raw) + self._offset)

    def sets(self, raw: npt.ArrayLike, alpha: float | None = None) -> BoolArray:
        """[N, 2] for raw scores [N]: (may be a text that does not, may be one that does). Class-conditional conformal
        sets that miss at most `alpha` (by default the calibration's own) of each class."""
        return self.conformal.sets(_finite(raw), self.alpha if alpha is None else alpha)

    def interval(self, raw: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """(low, high) of the score, each [N]: the scores of the middle 95 % of all calibrations that the examples
        leave possible (see `score_band`), and the score itself. The model that gave the raw scores is held fixed."""
        low, high = (fit.sigmoid(side) for side in score_band.within(self.band, _finite(raw)))
        score = self.score(raw)
        return np.minimum(low, score), np.maximum(high, score)

    @property
    def _offset(self) -> float:
        return self.intercept - fit.logit(self.threshold)

    def to_data(self) -> dict[str, Any]:
        """JSON values, with a version."""
        plain = ("slope", "intercept", "threshold", "prevalence", "positives", "negatives", "groups", "how", "alpha")
        data: dict[str, Any] = {"version": _VERSION} | {name: getattr(self, name) for name in plain}
        for name in ("auc", "balanced_accuracy", "accuracy"):
            found: Estimated = getattr(self, name)
            data[name] = [found.value, found.low, found.high]
        more = {
            "majority_accuracy": self.majority_accuracy,
            "ece": self.ece,
            "band": [list(knot) for knot in self.band],
        }
        return data | more | {"conformal": self.conformal.to_data()}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Calibration:
        """Reads `to_data`. Raises CalibrationError for anything else: a field that is missing, of another kind, not
        finite or out of its range."""
        try:
            found = _read(data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CalibrationError(f"this is no calibration that bylaw wrote: {_said(error)}") from error
        _check_read(found)
        return found


def calibrate(
    raw: npt.ArrayLike,
    labels: npt.ArrayLike,
    groups: Sequence[object] | None = None,
    *,
    alpha: float = DEFAULT_ALPHA,
    few_below: int = FEW_BELOW,
) -> Calibration:
    """Calibrates raw scores [N], out of fold, of examples with labels [N] (true: expresses the concept).

    `groups` [N]: what is equal there belongs together (one conversation, variants of one text); an empty string or
    None: on its own. `alpha`: the share of each class that sets may miss. With fewer than `few_below` examples of a
    class the threshold is the midpoint between the classes' means. The same input gives the same result.

    Raises CalibrationError for no example of a class, a score that is not finite, lengths that differ, and an `alpha`
    that is not above 0 and at most 0.5.
    """
    values, does = _checked(raw, labels)
    _check_alpha(alpha)
    if groups is not None and len(groups) != len(values):
        raise CalibrationError(f"there are {len(values)} scores and {len(groups)} groups; each score has one group")
    of = performance.group_numbers(groups, len(values))
    few = min(int(does.sum()), int((~does).sum())) < few_below
    how: How = "midpoint" if few else "out_of_fold"
    slope, intercept = fit.platt(values, does)
    cut = fit.threshold(values, does, of, how)
    crossed = fit.cross_fitted(values, does, of, how)
    decided = performance.decisions(crossed.above, does, of)
    return Calibration(
        slope=slope,
        intercept=intercept,
        threshold=float(np.clip(fit.sigmoid(np.array(slope * cut + intercept)), 1e-9, 1 - 1e-9)),
        prevalence=float(does.mean()),
        positives=int(does.sum()),
        negatives=int((~does).sum()),
        groups=int(of.max()) + 1,
        how=how,
        alpha=alpha,
        auc=performance.auc(values, does, of),
        balanced_accuracy=decided.balanced,
        accuracy=decided.plain,
        majority_accuracy=float(max(does.mean(), 1 - does.mean())),
        ece=performance.calibration_error(crossed.probability, does),
        band=score_band.band(values, does, performance.independent_share(values, does, of)),
        conformal=class_conformal(values, does),
    )


def missing(calibration: Calibration, alpha: float | None = None) -> tuple[int, int]:
    """How many more examples it takes before sets can tell: (that express the concept, that do not)."""
    enough = needed(calibration.alpha if alpha is None else alpha)
    return max(0, enough - calibration.positives), max(0, enough - calibration.negatives)


def gate(calibration: Calibration) -> Literal["ok", "weak"]:
    """`weak` where the AUC is below 0.7: a warning, and refused for a `must`."""
    return "ok" if calibration.auc.value >= WEAK_AUC else "weak"


def separation_error(calibration: Calibration, name: str = "this concept") -> str | None:
    """What is wrong with a concept that cannot tell its own examples apart; None where it can.

    An error: an AUC of at most 0.5 from any number of examples, or an interval that holds 0.5 although there are
    enough examples of each class for a set to tell.
    """
    found = calibration.auc
    enough = not any(missing(calibration))
    if found.value > 0.5 and (found.low > 0.5 or not enough):
        return None
    counts = f"{calibration.positives} examples that do and {calibration.negatives} that do not"
    return (
        f"{name} cannot tell its own examples apart: AUC {found.value:.2f} [{found.low:.2f}, {found.high:.2f}] from "
        f"{counts}, where chance is 0.50. Look for examples with the wrong label, say more exactly what is meant, or "
        f"use another scorer"
    )


# ------------------------------------------------------------------------------------------------------------- checks
def _finite(raw: npt.ArrayLike) -> FloatArray:
    values = np.asarray(raw, dtype=float)
    if not np.isfinite(values).all():
        raise CalibrationError("a raw score is not finite: the model that gave it is broken, or its input is")
    return values


def _checked(raw: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[FloatArray, BoolArray]:
    values, does = _finite(raw), np.asarray(labels)
    if values.ndim != 1 or does.shape != values.shape:
        raise CalibrationError(f"there are {values.size} scores and {does.size} labels; each score has one label")
    if does.dtype != np.bool_:
        raise CalibrationError("a label is true or false")
    if does.all() or not does.any():
        which = "that does not" if does.any() or not does.size else "that does"
        raise CalibrationError(f"there is no example {which}: calibrating takes examples of both kinds")
    return values, does


def _check_alpha(alpha: float) -> None:
    try:
        needed(alpha)
    except ValueError as error:
        raise CalibrationError(str(error)) from error


def _said(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _read(data: Mapping[str, Any]) -> Calibration:
    if data["version"] != _VERSION:
        raise ValueError(f"version {data['version']!r}, and this program reads {_VERSION}")
    if data["how"] not in ("midpoint", "out_of_fold"):
        raise ValueError(f"`how` is {data['how']!r}")
    counts = [data[name] for name in ("positives", "negatives", "groups")]
    if not all(type(count) is int for count in counts):
        raise ValueError("numbers of examples are whole")
    slope, intercept, threshold, prevalence, alpha, majority, ece = (
        float(data[name])
        for name in ("slope", "intercept", "threshold", "prevalence", "alpha", "majority_accuracy", "ece")
    )
    auc, balanced, plain = (Estimated(*map(float, data[name])) for name in ("auc", "balanced_accuracy", "accuracy"))
    band = tuple((float(x), float(low), float(high)) for x, low, high in data["band"])
    return Calibration(
        slope=slope,
        intercept=intercept,
        threshold=threshold,
        prevalence=prevalence,
        positives=counts[0],
        negatives=counts[1],
        groups=counts[2],
        how=cast(How, data["how"]),
        alpha=alpha,
        auc=auc,
        balanced_accuracy=balanced,
        accuracy=plain,
        majority_accuracy=majority,
        ece=ece,
        band=band,
        conformal=ClassConformal.from_data(data["conformal"]),
    )


def _check_read(found: Calibration) -> None:
    shares = (found.prevalence, found.majority_accuracy, found.ece)
    numbers = (found.slope, found.intercept, found.threshold, *shares, *chain.from_iterable(found.band))
    wrong = ""
    if not all(map(np.isfinite, numbers)):
        wrong = "a number is not finite"
    elif found.slope < 0 or not 0 < found.threshold < 1 or not all(0 <= share <= 1 for share in shares):
        wrong = "a number is out of its range"
    elif min(found.positives, found.negatives, found.groups) < 1:
        wrong = "a class has no example"
    elif (found.conformal.positives, found.conformal.negatives) != (found.positives, found.negatives):
        wrong = "its prediction sets are made from other examples"
    elif len(found.band) < 2 or any(a[0] >= b[0] for a, b in pairwise(found.band)):
        wrong = "`band` has raw scores in ascending order"
    elif any(low > high for _, low, high in found.band):
        wrong = "`band` has a lower bound above the upper one"
    if wrong:
        raise CalibrationError(f"this is no calibration that bylaw wrote: {wrong}")
    _check_alpha(found.alpha)
