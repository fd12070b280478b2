"""Prediction sets that hold for each class apart: which of "does" and "does not" a text may be.

Split conformal prediction, class-conditional (Mondrian; Vovk, Gammerman and Shafer, *Algorithmic learning in a random
world*, 2005, §4.5). With m examples of a class, a value of that class is left out of its set where it is stranger than
all but floor(α(m + 1)) − 1 of them: the quantile ceil((m + 1)(1 − α)) of the m strangenesses. If a new text and the
examples of its class are exchangeable, its set holds its class with probability at least 1 − α, for each class.

Sets that hold over both classes together (marginal) are not offered: where one text in fifty does, they reach 90 %
while they miss every one that does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
LARGEST_ALPHA = 0.5
"""Sets that miss more than half of a class are of no use, so that only the stranger half of the examples is kept."""
_ROUNDING = 1e-9


def needed(alpha: float) -> int:
    """How many examples of each class it takes before a set at `alpha` can leave that class out: ceil(1/α) − 1.

    Raises ValueError for an `alpha` that is not above 0 and at most 0.5.
    """
    _check(alpha)
    return math.ceil(1 / alpha - _ROUNDING) - 1


@dataclass(frozen=True, slots=True)
class ClassConformal:
    """What sets are made of: raw scores of examples, out of fold.

    `does`: the lowest scores of the `positives` examples that express the concept, ascending. `does_not`: the highest
    scores of the `negatives` that do not, descending. Of each, the stranger half is kept.
    """

    positives: int
    negatives: int
    does: tuple[float, ...]
    does_not: tuple[float, ...]

    def __post_init__(self) -> None:
        kept = (_kept(self.positives), _kept(self.negatives))
        if (len(self.does), len(self.does_not)) != kept:
            raise ValueError(f"{kept} values of examples, not {len(self.does)} and {len(self.does_not)}")
        if not all(map(math.isfinite, (*self.does, *self.does_not))):
            raise ValueError("scores of examples are finite")
        if list(self.does) != sorted(self.does) or list(self.does_not) != sorted(self.does_not, reverse=True):
            raise ValueError("the strangest examples come first")

    def cuts(self, alpha: float) -> tuple[float, float]:
        """(lowest raw score that may be "does", highest that may be "does not"); infinite where the examples of a
        class are too few for it to be left out. Raises ValueError as `needed`."""
        _check(alpha)
        low = _allowed(self.positives, alpha)
        high = _allowed(self.negatives, alpha)
        return (self.does[low - 1] if low else -math.inf, self.does_not[high - 1] if high else math.inf)

    def sets(self, raw: npt.ArrayLike, alpha: float) -> BoolArray:
        """[N, 2] for raw scores [N]: (may be one that does not, may be one that does). Both: cannot tell. Neither: the
        text is unlike the examples of either class, which is no answer as well."""
        low, high = self.cuts(alpha)
        values = np.asarray(raw, dtype=float)
        return np.stack([values <= high, values >= low], axis=-1)

    def to_data(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "positives": self.positives,
            "negatives": self.negatives,
            "does": list(self.does),
            "does_not": list(self.does_not),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> ClassConformal:
        """Reads `to_data`. Raises ValueError, KeyError or TypeError for anything else."""
        numbers = (data["positives"], data["negatives"])
        if not all(isinstance(number, int) and number >= 0 for number in numbers):
            raise ValueError("numbers of examples are whole")
        return cls(*numbers, tuple(float(x) for x in data["does"]), tuple(float(x) for x in data["does_not"]))


def class_conformal(raw: npt.ArrayLike, labels: npt.ArrayLike) -> ClassConformal:
    """Sets from raw scores [N] of examples (out of fold: a model's scores of its own training texts are too sure) and
    their labels [N]. Raises ValueError for shapes that differ and for values that are not finite."""
    values, does = np.asarray(raw, dtype=float), np.asarray(labels, dtype=bool)
    if values.shape != does.shape or values.ndim != 1:
        raise ValueError(f"one label for each score, not {does.shape} for {values.shape}")
    positive, negative = np.sort(values[does]), np.sort(values[~does])[::-1]
    return ClassConformal(
        len(positive),
        len(negative),
        tuple(positive[: _kept(len(positive))].tolist()),
        tuple(negative[: _kept(len(negative))].tolist()),
    )


@dataclass(frozen=True, slots=True)
class Coverage:
    """How sets did on texts whose labels are known: counts by class, so that rates can have their intervals.

    `covered_positives` of `positives` sets held "does" where the text does; `unscored` of all were not singletons;
    `wrong` were singletons of the other class.
    """

    positives: int
    covered_positives: int
    negatives: int
    covered_negatives: int
    unscored: int
    wrong: int


def coverage(sets: BoolArray, labels: npt.ArrayLike) -> Coverage:
    """What sets [N, 2] did with labels [N]. Raises ValueError for shapes that differ."""
    does = np.asarray(labels, dtype=bool)
    if sets.shape != (*does.shape, 2):
        raise ValueError(f"one set for each label, not {sets.shape} for {does.shape}")
    held = np.where(does, sets[:, 1], sets[:, 0])
    single = sets.sum(axis=1) == 1
    return Coverage(
        positives=int(does.sum()),
        covered_positives=int((held & does).sum()),
        negatives=int((~does).sum()),
        covered_negatives=int((held & ~does).sum()),
        unscored=int((~single).sum()),
        wrong=int((single & ~held).sum()),
    )


def _allowed(examples: int, alpha: float) -> int:
    """The place, from the strangest on and from 1, of the last example that a text of the class may be as strange as;
    0: too few examples."""
    return math.floor(alpha * (examples + 1) + _ROUNDING)


def _kept(examples: int) -> int:
    return _allowed(examples, LARGEST_ALPHA) if examples else 0


def _check(alpha: float) -> None:
    if not 0 < alpha <= LARGEST_ALPHA:
        raise ValueError(
            f"a share of each class that sets may miss lies above 0 and up to {LARGEST_ALPHA}, not {alpha}"
        )
