"""A logistic model on given features of few labelled texts, and what it says of texts that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from bylaw.runtime.concepts.folds import grouped_folds

FloatArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
FOLDS = 5
STRENGTH = 10.0
"""Inverse of the squared penalty, for features of length 1, which vary less than features of unit variance."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """weights [D], intercept: raw score = features @ weights + intercept, in nats."""

    weights: FloatArray
    intercept: float

    def raw(self, features: FloatArray) -> FloatArray:
        """[N] raw scores of features [N, D]."""
        found: FloatArray = features @ self.weights + self.intercept
        return found


def fit_head(features: FloatArray, does: BoolArray) -> Head:
    """A logistic model from features [N, D] and labels [N] of both kinds, which weigh the same in total."""
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    model = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=1_000)
    model.fit(features, does)
    return Head(np.asarray(model.coef_[0], dtype=float), float(model.intercept_[0]))


def out_of_fold(features: FloatArray, does: BoolArray, groups: Sequence[object]) -> FloatArray | None:
    """[N] raw scores, each from a head that has not seen the text's group; None where one group holds all of a class,
    so that there is no such head."""
    folds = grouped_folds(does, groups, FOLDS)
    if folds is None:
        return None
    raw = np.empty(len(does))
    for fold in np.unique(folds):
        out = folds == fold
        raw[out] = fit_head(features[~out], does[~out]).raw(features[out])
    return raw
